/* SPDX-License-Identifier: MIT */
/*
 * One line an event, to one descriptor that the process owns.
 *
 * Safe after fork: a line is one write(), so that supervisor and worker can
 * share the file. A line that cannot be written (a full disk, a halted
 * terminal) is lost, and nothing waits for it.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

#include "log_limit.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* The process's one global: where lines go and which are wanted. */
struct log_settings {
	int fd;
	/* A second place for the same lines while starting, or -1. */
	int echo_fd;
	enum log_level level;
	/* "2026-01-31 23:59:59" before each line: for files, not terminals. */
	bool timestamps;
	/* Of this process: what is only said on request, of each connection. */
	struct log_budget debug_budget;
};
extern struct log_settings log_settings;

/*
 * Write one line; a newline is added. Bytes outside printable ASCII are
 * written as \xNN, so that nothing a stranger sent can forge a line.
 */
__attribute__((format(printf, 2, 3))) void log_message(enum log_level level,
						       const char *format, ...);

#define log_error(...)	 log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* The text of a negative errno, for messages: error_text(-ENOENT). */
const char *error_text(int negative_errno);

#endif
