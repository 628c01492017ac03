// SPDX-License-Identifier: MIT
#include "instance/record.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define TITLE	       "acme-alpn-proxy state "
#define VERSION_NUMBER 1

static const char *const family_names[REDIRECT_FAMILIES] = { "iptables",
							     "ip6tables" };

/* FNV-1a: against a disk's faults and an editor's, not against malice. */
static uint32_t sum(const char *text, size_t length)
{
	uint32_t value = 0x811c9dc5;

	for (size_t i = 0; i < length; i++)
		value = (value ^ (unsigned char)text[i]) * 0x01000193;
	return value;
}

static void put_text(FILE *stream, const char *key, const char *text)
{
	fputs(key, stream);
	for (; *text; text++) {
		const unsigned char byte = (unsigned char)*text;

		if (byte < 0x20 || byte == 0x7f || byte == '\\')
			fprintf(stream, "\\x%02x", byte);
		else
			putc(byte, stream);
	}
	putc('\n', stream);
}

static void put_namespace(FILE *stream, const char *key,
			  const struct netns_id *id)
{
	fprintf(stream, "%s %ju:%ju\n", key, (uintmax_t)id->device,
		(uintmax_t)id->inode);
}

static void put_leftovers(FILE *stream,
			  const struct redirect_leftovers *leftovers)
{
	char key[32];

	for (size_t i = 0; i < REDIRECT_FAMILIES; i++) {
		snprintf(key, sizeof(key), "rule %s ", family_names[i]);
		if (leftovers->rules[i])
			put_text(stream, key, leftovers->rules[i]);
	}
	if (leftovers->hold)
		put_text(stream, "hold ", leftovers->hold);
	if (leftovers->filters)
		fprintf(stream, "filters 0x%08" PRIx32 "\n",
			leftovers->filters);
	for (size_t i = 0; i < leftovers->place_count; i++)
		put_namespace(stream, "filters in", &leftovers->places[i]);
}

int record_format(const struct record *record, char **text)
{
	char *made = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&made, &length);
	bool failed;

	if (!stream)
		return -ENOMEM;
	fprintf(stream, TITLE "%d\n", VERSION_NUMBER);
	put_text(stream, "boot ", record->boot);
	put_namespace(stream, "network", &record->network);
	put_text(stream, "redirect ", record->redirect);
	fprintf(stream, "port %u\nlisten %u\n", record->service_port,
		record->listen_port);
	put_leftovers(stream, &record->leftovers);
	if (fflush(stream) == 0)
		fprintf(stream, "end %08" PRIx32 "\n", sum(made, length));
	failed = ferror(stream);
	if (fclose(stream) || failed) {
		free(made);
		return -ENOMEM;
	}
	*text = made;
	return 0;
}

/* Put the bytes back, where they are. */
static char *unescape(char *text)
{
	char *written = text;
	unsigned int byte;

	for (const char *read = text; *read; written++) {
		if (strncmp(read, "\\x", 2) == 0 &&
		    isxdigit((unsigned char)read[2]) &&
		    isxdigit((unsigned char)read[3]) &&
		    sscanf(read + 2, "%2x", &byte) == 1) {
			*written = (char)byte;
			read += 4;
		} else {
			*written = *read++;
		}
	}
	*written = '\0';
	return text;
}

static void copy_text(char *target, size_t size, char *value)
{
	snprintf(target, size, "%s", unescape(value));
}

static void parse_rule(struct record *record, char *value)
{
	char *rule = strchr(value, ' ');

	if (!rule)
		return;
	*rule++ = '\0';
	for (size_t i = 0; i < REDIRECT_FAMILIES; i++) {
		if (strcmp(value, family_names[i]) == 0)
			record->leftovers.rules[i] = unescape(rule);
	}
}

static struct netns_id parse_namespace(const char *value)
{
	uintmax_t device = 0;
	uintmax_t inode = 0;

	sscanf(value, "%ju:%ju", &device, &inode);
	return (struct netns_id){ .device = device, .inode = inode };
}

static void parse_filters(struct redirect_leftovers *leftovers,
			  const char *value)
{
	if (strncmp(value, "in ", 3) != 0)
		sscanf(value, "0x%" SCNx32, &leftovers->filters);
	else if (leftovers->place_count < REDIRECT_PLACES)
		leftovers->places[leftovers->place_count++] =
			parse_namespace(value + 3);
}

/* Leniently: what is not as we write it is found by writing it again. */
static void parse_line(struct record *record, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return;
	*value++ = '\0';
	if (strcmp(line, "boot") == 0)
		copy_text(record->boot, sizeof(record->boot), value);
	else if (strcmp(line, "network") == 0)
		record->network = parse_namespace(value);
	else if (strcmp(line, "redirect") == 0)
		copy_text(record->redirect, sizeof(record->redirect), value);
	else if (strcmp(line, "port") == 0)
		sscanf(value, "%" SCNu16, &record->service_port);
	else if (strcmp(line, "listen") == 0)
		sscanf(value, "%" SCNu16, &record->listen_port);
	else if (strcmp(line, "rule") == 0)
		parse_rule(record, value);
	else if (strcmp(line, "hold") == 0)
		record->leftovers.hold = unescape(value);
	else if (strcmp(line, "filters") == 0)
		parse_filters(&record->leftovers, value);
}

static int check_version(const char *text)
{
	unsigned int version;

	if (sscanf(text, TITLE "%u", &version) != 1)
		return -EINVAL;
	return version == VERSION_NUMBER ? 0 : -EPROTO;
}

/* Exactly what we would write of it? */
static int check_written(const struct record *record, const char *text,
			 size_t length)
{
	cleanup_free char *written = NULL;
	int err = record_format(record, &written);

	if (err)
		return err;
	return strlen(written) == length && memcmp(written, text, length) == 0
		       ? 0
		       : -EINVAL;
}

int record_parse(const char *text, size_t length, struct record *record)
{
	char *line;
	char *rest;
	int err;

	*record = (struct record){ .text = malloc(length + 1) };
	if (!record->text)
		return -ENOMEM;
	memcpy(record->text, text, length);
	record->text[length] = '\0';
	err = check_version(record->text);
	rest = record->text;
	while (!err && (line = strsep(&rest, "\n")))
		parse_line(record, line);
	if (!err)
		err = check_written(record, text, length);
	if (err)
		record_free(record);
	return err;
}

void record_free(struct record *record)
{
	free(record->text);
	*record = (struct record){ 0 };
}
