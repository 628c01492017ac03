// SPDX-License-Identifier: MIT
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* One event is one line; longer ones are cut. */
#define LINE_SIZE 2048

struct log_settings log_settings = {
	.fd = STDERR_FILENO,
	.echo_fd = -1,
	.level = LOG_LEVEL_INFO,
};

static const char *const level_prefix[] = {
	[LOG_LEVEL_ERROR] = "error: ",
	[LOG_LEVEL_WARNING] = "warning: ",
	[LOG_LEVEL_INFO] = "",
	[LOG_LEVEL_DEBUG] = "",
};

/* Append @text to @line, unprintable bytes as \xNN; returns the new length. */
static size_t append_escaped(char *line, size_t length, const char *text)
{
	for (; *text && length < LINE_SIZE - 8; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte >= 0x20 && byte < 0x7f)
			line[length++] = (char)byte;
		else
			length +=
				(size_t)sprintf(line + length, "\\x%02x", byte);
	}
	return length;
}

static size_t append_timestamp(char *line)
{
	struct timespec now;
	struct tm local;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	return strftime(line, LINE_SIZE, "%Y-%m-%d %H:%M:%S ", &local);
}

/*
 * A terminal that was halted (Ctrl-S), a pipe that nobody reads, a full disk:
 * none may stop the service. The line is lost, there is nowhere to report it.
 * What a pipe says it has room for takes a whole line (PIPE_BUF).
 */
static void write_line(int fd, const char *line, size_t length)
{
	struct pollfd target = { .fd = fd, .events = POLLOUT };

	if (fd < 0 || poll(&target, 1, 0) < 1 || !(target.revents & POLLOUT))
		return;
	if (write(fd, line, length) < 0)
		return;
}

static void write_text(enum log_level level, const char *text)
{
	char line[LINE_SIZE];
	size_t start = 0;
	size_t length;

	if (log_settings.timestamps)
		start = append_timestamp(line);
	length = append_escaped(line, start, level_prefix[level]);
	length = append_escaped(line, length, text);
	line[length++] = '\n';

	write_line(log_settings.fd, line, length);
	write_line(log_settings.echo_fd, line + start, length - start);
}

/* Whoever opens connections by the thousand must not fill the disk. */
static bool debug_line_is_due(void)
{
	char text[64];
	uint64_t left_out;

	if (!log_budget_spend(&log_settings.debug_budget, monotonic_ns(),
			      &left_out))
		return false;
	if (left_out > 0) {
		snprintf(text, sizeof(text), "%llu lines like these left out",
			 (unsigned long long)left_out);
		write_text(LOG_LEVEL_DEBUG, text);
	}
	return true;
}

void log_message(enum log_level level, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list arguments;

	if (level > log_settings.level ||
	    (level == LOG_LEVEL_DEBUG && !debug_line_is_due()))
		return;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	write_text(level, text);
}

const char *error_text(int negative_errno)
{
	const char *text = strerrordesc_np(-negative_errno);

	return text ? text : "unknown error";
}
