// SPDX-License-Identifier: MIT
/*
 * domain_list.h with any words of a command line and any server name: what is
 * taken as a name is one, and the judgement is the one that comparing label by
 * label, from the right, comes to.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hello/domain_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

struct slice {
	const char *bytes;
	size_t length;
};

/* Take the last label off; false if there is none. */
static bool cut_label(struct slice *name, struct slice *label)
{
	size_t start = name->length;

	if (name->bytes == NULL)
		return false;
	while (start > 0 && name->bytes[start - 1] != '.')
		start--;
	label->bytes = name->bytes + start;
	label->length = name->length - start;
	if (start == 0)
		name->bytes = NULL;
	else
		name->length = start - 1;
	return true;
}

static bool is_label(struct slice label)
{
	for (size_t i = 0; i < label.length; i++) {
		unsigned char byte = (unsigned char)label.bytes[i];

		if (byte > 127 ||
		    !(isalnum(byte) || byte == '_' ||
		      (byte == '-' && i > 0 && i + 1 < label.length)))
			return false;
	}
	return label.length > 0 && label.length < 64;
}

static bool same(struct slice one, struct slice other)
{
	if (one.length != other.length)
		return false;
	for (size_t i = 0; i < one.length; i++) {
		if (tolower((unsigned char)one.bytes[i]) !=
		    tolower((unsigned char)other.bytes[i]))
			return false;
	}
	return true;
}

static bool reference_matches(const char *domain, const char *name,
			      size_t length)
{
	struct slice pattern = { domain, strlen(domain) };
	struct slice whole = { name, length };
	struct slice wanted, label;

	if (length > 0 && name[length - 1] == '.')
		whole.length--;
	while (cut_label(&pattern, &wanted)) {
		if (!cut_label(&whole, &label))
			return false;
		if (wanted.length == 1 && *wanted.bytes == '*'
			    ? !is_label(label)
			    : !same(wanted, label))
			return false;
	}
	return whole.bytes == NULL;
}

static void check_name(const char *name)
{
	struct slice rest = { name, strlen(name) };
	struct slice label;

	check(rest.length >= 1 && rest.length <= DOMAIN_NAME_MAX);
	while (cut_label(&rest, &label))
		check(is_label(label) || (!rest.bytes && label.length == 1 &&
					  *name == '*' && name[1] == '.'));
}

/* Lines are words of the command line, as far as the first zero byte; the
 * server name is behind that. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct domain_list list;
	char *text = malloc(size + 1);
	bool expected = false;
	size_t length;
	char *name;

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	length = size - strnlen(text, size);
	length -= length > 0;
	/* Of its exact size, so that reading past it is found. */
	name = malloc(length);
	check(name || length == 0);
	if (length > 0)
		memcpy(name, data + size - length, length);

	list.count = 0;
	for (char *word = strtok(text, "\n"); word; word = strtok(NULL, "\n")) {
		size_t before = list.count;
		int err = domain_list_add(&list, word);

		check(err == 0 || err == -EINVAL || err == -E2BIG);
		check(list.count == before + !err);
		if (!err)
			check_name(list.names[before]);
	}
	for (size_t i = 0; i < list.count && !expected; i++)
		expected = reference_matches(list.names[i], name, length);
	check(domain_list_takes(&list, (const uint8_t *)name, length) ==
	      (expected || list.count == 0));
	free(name);
	free(text);
	return 0;
}
