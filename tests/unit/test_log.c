// SPDX-License-Identifier: MIT
/* Lines of log, read from a pipe of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"

static int reader;
static char text[2 * PIPE_BUF];

/* All that was written since the last call. */
static const char *written(void)
{
	ssize_t length = read(reader, text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = '\0';
	return text;
}

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	reader = fds[0];
	log_settings = (struct log_settings){
		.fd = fds[1],
		.echo_fd = -1,
		.level = LOG_LEVEL_INFO,
	};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(reader);
	close(log_settings.fd);
	return 0;
}

/* A flood that has no line after it is told of as well. */
static void tells_of_lines_that_were_left_out(void **state)
{
	(void)state;
	log_settings.level = LOG_LEVEL_DEBUG;
	log_tell_left_out();
	assert_string_equal(written(), "");
	log_settings.debug_budget = (struct log_budget){
		.second_ends_ns = UINT64_MAX,
		.lines = LOG_BUDGET_LINES,
	};
	for (int i = 0; i < 3; i++)
		log_debug("too much");
	assert_string_equal(written(), "");
	log_tell_left_out();
	assert_string_equal(written(), "3 lines like these left out\n");
	log_tell_left_out();
	assert_string_equal(written(), "");
}

static void writes_a_line_an_event(void **state)
{
	(void)state;
	log_error("no %s", "luck");
	log_warning("careful");
	log_info("ready");
	log_debug("not wanted");
	assert_string_equal(written(), "error: no luck\n"
				       "warning: careful\n"
				       "ready\n");
}

static void puts_times_and_priorities_before(void **state)
{
	int year, month, day, hour, minute, second, length = 0;

	(void)state;
	log_settings.timestamps = true;
	log_error("no luck");
	sscanf(written(), "%4d-%2d-%2d %2d:%2d:%2d %n", &year, &month, &day,
	       &hour, &minute, &second, &length);
	assert_int_equal(length, 20);
	assert_string_equal(text + length, "error: no luck\n");

	/* The journal knows the time. */
	log_settings.priorities = true;
	log_settings.level = LOG_LEVEL_DEBUG;
	log_error("a");
	log_warning("b");
	log_info("c");
	log_debug("d");
	assert_string_equal(written(), "<3>error: a\n<4>warning: b\n"
				       "<6>c\n<7>d\n");
}

static const struct log_field fields[] = {
	{ "name", .text = "a b=\"c\"\\\n\xff\0z", .length = 12 },
	{ "count", .number = UINT64_MAX },
	{ "seconds", .number = 61005, .milliseconds = true },
	{ "empty", .text = "" },
};

static void writes_fields(void **state)
{
	(void)state;
	log_event(LOG_LEVEL_INFO, "it came", fields, ARRAY_SIZE(fields));
	assert_string_equal(
		written(),
		"it came name=a\\x20b=\\x22c\\x22\\x5c\\x0a\\xff\\x00z "
		"count=18446744073709551615 seconds=61.005 empty=\n");
}

static void writes_json(void **state)
{
	const char *behind_time;

	(void)state;
	log_settings.json = true;
	/* It has its own. */
	log_settings.timestamps = true;
	log_event(LOG_LEVEL_WARNING, "it \"came\"\n\x01", fields,
		  ARRAY_SIZE(fields));
	assert_memory_equal(written(), "{\"time\":\"2", 10);
	behind_time = strchr(text, 'Z');
	assert_int_equal(behind_time - text, 32);
	assert_string_equal(
		behind_time,
		"Z\",\"level\":\"warning\","
		"\"name\":\"a b=\\\"c\\\"\\\\\\\\x0a\\\\xff\\\\x00z\","
		"\"count\":18446744073709551615,\"seconds\":61.005,"
		"\"empty\":\"\","
		"\"message\":\"it \\\"came\\\"\\\\x0a\\\\x01\"}\n");
}

static void echoes_as_text(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	log_settings.json = true;
	log_settings.echo_fd = fds[1];
	log_error("no luck");
	close(reader);
	reader = fds[0];
	assert_string_equal(written(), "error: no luck\n");
	close(fds[1]);
}

static void cuts_what_is_too_long(void **state)
{
	char message[2 * PIPE_BUF];

	(void)state;
	memset(message, '"', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	log_info("%s", message);
	assert_true(strlen(written()) <= PIPE_BUF);
	assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);

	log_settings.json = true;
	log_info("%s", message);
	assert_true(strlen(written()) <= PIPE_BUF);
	/* The last quote is not one that is escaped. */
	assert_string_equal(text + strlen(text) - 5, "\\\"\"}\n");
}

static void leaves_out_a_field_that_does_not_fit(void **state)
{
	static char big[PIPE_BUF];
	const struct log_field with_big[] = {
		{ "big", .text = big, .length = sizeof(big) },
		{ "small", .number = 1 },
	};

	(void)state;
	log_event(LOG_LEVEL_INFO, "event", with_big, ARRAY_SIZE(with_big));
	assert_string_equal(written(), "event small=1\n");
	log_settings.json = true;
	log_event(LOG_LEVEL_INFO, "event", with_big, ARRAY_SIZE(with_big));
	assert_non_null(strstr(written(), "\"level\":\"info\",\"small\":1,"
					  "\"message\":\"event\"}\n"));
}

static void loses_lines_rather_than_wait(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++)
		log_info("%01000d", i);
	/* Whole lines only. */
	for (ssize_t length; (length = read(reader, text, 1001)) > 0;) {
		assert_int_equal(length, 1001);
		assert_int_equal(text[1000], '\n');
	}
}

#define test(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(writes_a_line_an_event),
		test(puts_times_and_priorities_before),
		test(writes_fields),
		test(writes_json),
		test(echoes_as_text),
		test(cuts_what_is_too_long),
		test(leaves_out_a_field_that_does_not_fit),
		test(loses_lines_rather_than_wait),
		test(tells_of_lines_that_were_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
