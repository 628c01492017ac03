// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Longer ones are cut. What a pipe says it has room for takes a whole line of
 * this size. */
#define LINE_SIZE PIPE_BUF
/* Always left for what ends a line. */
#define LINE_END_SIZE 8

struct line {
	char text[LINE_SIZE];
	size_t length;
	/* Something did not fit, and nothing more is taken. */
	bool full;
};

struct log_settings log_settings = {
	.fd = STDERR_FILENO,
	.echo_fd = -1,
	.level = LOG_LEVEL_INFO,
};

static const struct {
	const char *name;
	/* Before the message in text. */
	const char *prefix;
	/* Of syslog(3), as sd-daemon(3) wants it. */
	const char *priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "error: ", "<3>" },
	[LOG_LEVEL_WARNING] = { "warning", "warning: ", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "", "<7>" },
};

/* All of @bytes or nothing. */
static void append(struct line *line, const char *bytes, size_t length)
{
	if (line->full || line->length + length > LINE_SIZE - LINE_END_SIZE) {
		line->full = true;
		return;
	}
	memcpy(line->text + line->length, bytes, length);
	line->length += length;
}

static void append_text(struct line *line, const char *text)
{
	append(line, text, strlen(text));
}

/* What ends a line has its place. */
static void append_end(struct line *line, const char *end)
{
	line->full = false;
	memcpy(line->text + line->length, end, strlen(end));
	line->length += strlen(end);
}

/*
 * @text as printable ASCII: other bytes, and those in @special, become \xNN.
 * Inside JSON, quotes and backslashes are escaped once more.
 */
static void append_escaped(struct line *line, const char *text, size_t length,
			   const char *special, bool json)
{
	for (size_t i = 0; i < length; i++) {
		const unsigned char byte = (unsigned char)text[i];
		char escaped[8];

		if (byte < 0x20 || byte >= 0x7f || strchr(special, byte))
			snprintf(escaped, sizeof(escaped),
				 json ? "\\\\x%02x" : "\\x%02x", byte);
		else if (json && (byte == '"' || byte == '\\'))
			snprintf(escaped, sizeof(escaped), "\\%c", byte);
		else
			snprintf(escaped, sizeof(escaped), "%c", byte);
		append_text(line, escaped);
	}
}

/* For people the time of their clocks; for programs UTC, as in RFC 3339. */
static void append_time(struct line *line, bool json)
{
	struct timespec now;
	struct tm fields;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	if (json)
		gmtime_r(&now.tv_sec, &fields);
	else
		localtime_r(&now.tv_sec, &fields);
	strftime(text, sizeof(text),
		 json ? "%Y-%m-%dT%H:%M:%S." : "%Y-%m-%d %H:%M:%S ", &fields);
	append_text(line, text);
	if (!json)
		return;
	snprintf(text, sizeof(text), "%03luZ",
		 (unsigned long)now.tv_nsec / (unsigned long)NS_PER_MS);
	append_text(line, text);
}

static void append_value(struct line *line, const struct log_field *field,
			 bool json)
{
	unsigned long long number = field->number;
	char text[32];

	if (field->text) {
		append_text(line, json ? "\"" : "");
		append_escaped(line, field->text, field->length,
			       json ? "" : " \"\\", json);
		append_text(line, json ? "\"" : "");
		return;
	}
	if (field->milliseconds)
		snprintf(text, sizeof(text), "%llu.%03llu", number / 1000,
			 number % 1000);
	else
		snprintf(text, sizeof(text), "%llu", number);
	append_text(line, text);
}

/* All of the field or nothing. */
static void append_field(struct line *line, const struct log_field *field,
			 bool json)
{
	const size_t before = line->length;

	append_text(line, json ? ",\"" : " ");
	append_text(line, field->name);
	append_text(line, json ? "\":" : "=");
	append_value(line, field, json);
	if (line->full) {
		line->length = before;
		line->full = false;
	}
}

/* What is told; the fields come last, behind a message that is short. */
static void append_plain(struct line *line, enum log_level level,
			 const char *message, const struct log_field *fields,
			 size_t count)
{
	append_text(line, levels[level].prefix);
	append_escaped(line, message, strlen(message), "", false);
	for (size_t i = 0; i < count; i++)
		append_field(line, &fields[i], false);
	append_end(line, "\n");
}

/* The message comes last, so that whatever is cut, the object ends well. */
static void append_json(struct line *line, enum log_level level,
			const char *message, const struct log_field *fields,
			size_t count)
{
	append_text(line, "{\"time\":\"");
	append_time(line, true);
	append_text(line, "\",\"level\":\"");
	append_text(line, levels[level].name);
	append_text(line, "\"");
	for (size_t i = 0; i < count; i++)
		append_field(line, &fields[i], true);
	append_text(line, ",\"message\":\"");
	append_escaped(line, message, strlen(message), "", true);
	append_end(line, "\"}\n");
}

/*
 * A terminal that was halted (Ctrl-S), a pipe that nobody reads, a full disk:
 * none may stop the service. The line is lost, there is nowhere to report it.
 */
static void write_line(int fd, const struct line *line)
{
	struct pollfd target = { .fd = fd, .events = POLLOUT };

	if (poll(&target, 1, 0) < 1 || !(target.revents & POLLOUT))
		return;
	if (write(fd, line->text, line->length) < 0)
		return;
}

static void write_event(enum log_level level, const char *message,
			const struct log_field *fields, size_t count)
{
	struct line line;

	if (log_settings.fd >= 0) {
		line.length = 0;
		line.full = false;
		if (log_settings.priorities)
			append_text(&line, levels[level].priority);
		else if (log_settings.timestamps && !log_settings.json)
			append_time(&line, false);
		if (log_settings.json)
			append_json(&line, level, message, fields, count);
		else
			append_plain(&line, level, message, fields, count);
		write_line(log_settings.fd, &line);
	}
	if (log_settings.echo_fd >= 0) {
		line.length = 0;
		line.full = false;
		append_plain(&line, level, message, fields, count);
		write_line(log_settings.echo_fd, &line);
	}
}

static void tell_left_out(uint64_t lines)
{
	char text[64];

	if (lines == 0)
		return;
	snprintf(text, sizeof(text), "%llu lines like these left out",
		 (unsigned long long)lines);
	write_event(LOG_LEVEL_DEBUG, text, NULL, 0);
}

/* Whoever opens connections by the thousand must not fill the disk. */
static bool debug_line_is_due(void)
{
	uint64_t left_out;

	if (!log_budget_spend(&log_settings.debug_budget, monotonic_ns(),
			      &left_out))
		return false;
	tell_left_out(left_out);
	return true;
}

void log_tell_left_out(void)
{
	tell_left_out(log_settings.debug_budget.left_out);
	log_settings.debug_budget.left_out = 0;
}

void log_event(enum log_level level, const char *message,
	       const struct log_field *fields, size_t count)
{
	if (level > log_settings.level ||
	    (level == LOG_LEVEL_DEBUG && !debug_line_is_due()))
		return;
	write_event(level, message, fields, count);
}

void log_message(enum log_level level, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list arguments;

	if (level > log_settings.level)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_event(level, text, NULL, 0);
}

int log_failure(int err, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list arguments;

	if (err < 0) {
		va_start(arguments, format);
		vsnprintf(text, sizeof(text), format, arguments);
		va_end(arguments);
		log_error("%s: %s", text, error_text(err));
	}
	return err;
}

const char *error_text(int err)
{
	const char *text = strerrordesc_np(-err);

	return text ? text : "unknown error";
}
