/* SPDX-License-Identifier: MIT */
/*
 * One line an event, to one descriptor that the process owns.
 *
 * Safe after fork: a line is one write(), so that supervisor and workers can
 * share the file. A line that cannot be written (a full disk, a halted
 * terminal) is lost, and nothing waits for it.
 *
 * Whatever is in a message or a value, a line stays one line, and JSON stays
 * JSON: bytes outside printable ASCII become \xNN first, in either format.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log_limit.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* The process's one global: where lines go and which are wanted. */
struct log_settings {
	int fd;
	/* A second place for the same lines while starting, or -1; always
	 * text. */
	int echo_fd;
	/* What was opened as @fd and can be opened anew, or NULL. */
	const char *path;
	enum log_level level;
	/* One JSON object a line, which has its time in it. */
	bool json;
	/* "2026-01-31 23:59:59" before each line of text: for files. */
	bool timestamps;
	/* "<6>" before each line, as sd-daemon(3) has it: for the journal. */
	bool priorities;
	/* Of this process: what is only said on request, of each connection. */
	struct log_budget debug_budget;
};
extern struct log_settings log_settings;

/* One fact of an event: text, or a number if @text is NULL. */
struct log_field {
	/* Lower case and underscores. */
	const char *name;
	/* @length bytes of any kind. */
	const char *text;
	size_t length;
	uint64_t number;
	/* The number counts milliseconds, and is written as seconds. */
	bool milliseconds;
};

/* Write one line; a newline is added. */
__attribute__((format(printf, 2, 3))) void log_message(enum log_level level,
						       const char *format, ...);

#define log_error(...)	 log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* If @err is below 0, log an error: the message, and behind it that as the
 * reason. Returns @err. */
__attribute__((format(printf, 2, 3))) int log_failure(int err,
						      const char *format, ...);

/*
 * Write one line with fields: "message name=value ..." or members of the JSON
 * object. In text a value has no space and no quote of its own. A field that
 * the line has no room for is left out.
 */
void log_event(enum log_level level, const char *message,
	       const struct log_field *fields, size_t count);

/* Of the debug lines left out (log_limit.h), those that no line has told of
 * yet: now and then, and before the process ends. */
void log_tell_left_out(void);

/* The text of a negative errno, for messages: error_text(-ENOENT). */
const char *error_text(int err);

#endif
