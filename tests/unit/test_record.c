// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "instance/record.h"
#include "instance/record_file.h"

static const struct record sample = {
	.boot = "7e1f5cb2-0e46-4c1f-9a57-0d9e5f4e2b11",
	.network = { .device = 4, .inode = 4026531840 },
	.redirect = "iptables",
	.service_port = 443,
	.listen_port = 21443,
	.leftovers = {
		.rules = { "-p tcp --dport 443 -j REDIRECT --to-ports 21443",
			   "-p tcp --dport 443 -j REDIRECT --to-ports 21443" },
		.hold = "acme-alpn-proxy hold 812-1f2e3d4c",
		.filters = 0x0a1c53c3,
		.places = { { .device = 4, .inode = 4026532233 } },
		.place_count = 1,
	},
};

static char *format(const struct record *record)
{
	char *text = NULL;

	assert_int_equal(record_format(record, &text), 0);
	return text;
}

static void is_what_the_header_shows(void **state)
{
	static const char expected[] =
		"acme-alpn-proxy state 1\n"
		"boot 7e1f5cb2-0e46-4c1f-9a57-0d9e5f4e2b11\n"
		"network 4:4026531840\n"
		"redirect iptables\n"
		"port 443\n"
		"listen 21443\n"
		"rule iptables -p tcp --dport 443 -j REDIRECT --to-ports 21443\n"
		"rule ip6tables -p tcp --dport 443 -j REDIRECT --to-ports "
		"21443\n"
		"hold acme-alpn-proxy hold 812-1f2e3d4c\n"
		"filters 0x0a1c53c3\n"
		"filters in 4:4026532233\n"
		"end ";
	cleanup_free char *text = format(&sample);

	(void)state;
	assert_int_equal(strlen(text), sizeof(expected) - 1 + 9);
	assert_memory_equal(text, expected, sizeof(expected) - 1);
}

static int parse(const char *text, size_t length)
{
	struct record record;
	int err = record_parse(text, length, &record);

	if (!err)
		record_free(&record);
	else
		assert_null(record.text);
	return err;
}

static void assert_same_text(const char *one, const char *other)
{
	if (one && other)
		assert_string_equal(one, other);
	else
		assert_true(one == other);
}

static void assert_comes_back(const struct record *record)
{
	cleanup_free char *text = format(record);
	struct record read;

	assert_int_equal(record_parse(text, strlen(text), &read), 0);
	assert_string_equal(read.boot, record->boot);
	assert_true(read.network.device == record->network.device);
	assert_true(read.network.inode == record->network.inode);
	assert_string_equal(read.redirect, record->redirect);
	assert_int_equal(read.service_port, record->service_port);
	assert_int_equal(read.listen_port, record->listen_port);
	for (size_t i = 0; i < REDIRECT_FAMILIES; i++)
		assert_same_text(read.leftovers.rules[i],
				 record->leftovers.rules[i]);
	assert_same_text(read.leftovers.hold, record->leftovers.hold);
	assert_int_equal(read.leftovers.filters, record->leftovers.filters);
	assert_int_equal(read.leftovers.place_count,
			 record->leftovers.place_count);
	for (size_t i = 0; i < record->leftovers.place_count; i++)
		assert_true(netns_is(&read.leftovers.places[i],
				     &record->leftovers.places[i]));
	record_free(&read);
	record_free(&read);
}

static void comes_back(void **state)
{
	struct record record = sample;

	(void)state;
	assert_comes_back(&record);
	record.network.inode = UINT64_MAX;
	record.service_port = UINT16_MAX;
	record.leftovers.rules[0] = NULL;
	assert_comes_back(&record);
	for (size_t i = 0; i < REDIRECT_PLACES; i++)
		record.leftovers.places[i].inode = i;
	record.leftovers.place_count = REDIRECT_PLACES;
	assert_comes_back(&record);
	record.leftovers = (struct redirect_leftovers){ 0 };
	assert_comes_back(&record);
}

/* Written by hand, with the right sum, but for more than there is room for. */
static void too_many_places_are_damage(void **state)
{
	struct record record = sample;
	cleanup_free char *text = NULL;
	cleanup_free char *longer = NULL;
	uint32_t sum = 0x811c9dc5;
	int length;

	(void)state;
	record.leftovers.place_count = REDIRECT_PLACES;
	assert_int_equal(record_format(&record, &text), 0);
	length = (int)(strstr(text, "end ") - text);
	assert_true(asprintf(&longer, "%.*sfilters in 0:0\nend 00000000\n",
			     length, text) > 0);
	length = (int)(strstr(longer, "end ") - longer);
	for (int i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)longer[i]) * 0x01000193;
	snprintf(longer + length, 14, "end %08x\n", sum);
	assert_int_equal(parse(longer, strlen(longer)), -EINVAL);
}

/* Whatever a rule has in it, it is one line. */
static void odd_bytes_come_back(void **state)
{
	char every_byte[256];
	struct record record = sample;
	cleanup_free char *text = NULL;
	size_t lines = 0;

	(void)state;
	for (int i = 1; i <= 255; i++)
		every_byte[i - 1] = (char)i;
	every_byte[255] = '\0';
	record.leftovers.rules[0] = every_byte;
	assert_comes_back(&record);
	record.leftovers.rules[0] = "\nlisten 1\nend 00000000\n";
	record.leftovers.rules[1] = "\\x41 \\\\ \\";
	assert_comes_back(&record);
	text = format(&record);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 12);
}

static void any_damage_is_found(void **state)
{
	cleanup_free char *text = format(&sample);
	const size_t length = strlen(text);

	(void)state;
	for (size_t i = 0; i < length; i++) {
		const char kept = text[i];

		assert_int_not_equal(parse(text, i), 0);
		for (int bit = 0; bit < 8; bit++) {
			text[i] = (char)(kept ^ 1 << bit);
			assert_int_not_equal(parse(text, length), 0);
		}
		text[i] = kept;
	}
	assert_int_equal(parse(text, length), 0);
	/* The zero byte behind it is not part of it. */
	assert_int_equal(parse(text, length + 1), -EINVAL);
	assert_int_equal(parse("", 0), -EINVAL);
}

static void another_version_is_told_apart(void **state)
{
	static const char later[] = "acme-alpn-proxy state 2\nwhatever\n";

	(void)state;
	assert_int_equal(parse(later, sizeof(later) - 1), -EPROTO);
}

static char folder[] = "/tmp/test_record.XXXXXX";

static struct record_file file_of(const char *name)
{
	struct record_file file;
	char pidfile[64];

	snprintf(pidfile, sizeof(pidfile), "%s/%s", folder, name);
	assert_int_equal(record_file_name(&file, pidfile), 0);
	return file;
}

static void stands_beside_the_pidfile(void **state)
{
	(void)state;
	assert_non_null(strstr(file_of("a.pid").path, "/a.state"));
	assert_non_null(strstr(file_of("a").path, "/a.state"));
}

static void is_written_read_and_removed(void **state)
{
	const struct record_file file = file_of("b.pid");
	struct record record;
	struct stat status;

	(void)state;
	assert_int_equal(record_file_read(&file, &record), -ENOENT);
	umask(0);
	assert_int_equal(record_file_write(&file, &sample), 0);
	assert_int_equal(stat(file.path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(record_file_read(&file, &record), 0);
	assert_string_equal(record.leftovers.hold, sample.leftovers.hold);
	record_free(&record);
	record_file_remove(&file);
	assert_int_equal(record_file_read(&file, &record), -ENOENT);
}

/* A link and a file that others may write are not followed. */
static void others_files_are_not_read(void **state)
{
	const struct record_file file = file_of("c.pid");
	const struct record_file link = file_of("link.pid");
	struct record record;

	(void)state;
	assert_int_equal(record_file_write(&file, &sample), 0);
	assert_int_equal(symlink(file.path, link.path), 0);
	assert_int_equal(record_file_read(&link, &record), -ELOOP);
	assert_int_equal(chmod(file.path, 0622), 0);
	assert_int_equal(record_file_read(&file, &record), -EPERM);
	record_file_remove(&link);
	record_file_remove(&file);
}

/* One that cannot be written leaves the one that is there, and no other. */
static void failing_leaves_what_was_there(void **state)
{
	const struct record_file file = file_of("d.pid");
	struct rlimit kept;
	struct rlimit limit;
	struct record record;
	struct record other = sample;

	(void)state;
	assert_int_equal(record_file_write(&file, &sample), 0);
	getrlimit(RLIMIT_FSIZE, &kept);
	limit = kept;
	limit.rlim_cur = 100;
	setrlimit(RLIMIT_FSIZE, &limit);
	other.listen_port = 1;
	assert_int_equal(record_file_write(&file, &other), -ENOSPC);
	setrlimit(RLIMIT_FSIZE, &kept);
	assert_int_equal(record_file_read(&file, &record), 0);
	assert_int_equal(record.listen_port, 21443);
	record_free(&record);
	assert_int_equal(record_file_set_aside(&file), 0);
	assert_int_equal(record_file_read(&file, &record), -ENOENT);
}

static void is_located_here(void **state)
{
	struct record record = { 0 };

	(void)state;
	assert_int_equal(record_locate(&record), 0);
	assert_int_equal(strlen(record.boot), 36);
	assert_true(record.network.inode != 0);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

/* Only what was set aside is left. */
static int remove_folder(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/d.state.old", folder);
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_the_header_shows),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(too_many_places_are_damage),
		cmocka_unit_test(odd_bytes_come_back),
		cmocka_unit_test(any_damage_is_found),
		cmocka_unit_test(another_version_is_told_apart),
		cmocka_unit_test(stands_beside_the_pidfile),
		cmocka_unit_test(is_written_read_and_removed),
		cmocka_unit_test(others_files_are_not_read),
		cmocka_unit_test(failing_leaves_what_was_there),
		cmocka_unit_test(is_located_here),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
