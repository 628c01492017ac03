// SPDX-License-Identifier: MIT
/*
 * What `status` makes of any answer to its question: it is refused, or printed
 * in each form without reading past a text, and without giving the terminal
 * more than lines.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* For the functions that print, which are nobody else's. */
#include "src/command/status.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

static struct status_report sound_report(void)
{
	return (struct status_report){
		.version = STATUS_REPORT_VERSION,
		.size = sizeof(struct status_report),
		.pid = 4711,
		.redirect = "bpf",
		.alpn = "127.0.0.1:31443",
		.fallback = "[::1]:443",
		.confinement = CONFINED_BY_ALL,
		.challenges = { { .taken_ns = 1,
				  .client = "192.0.2.7",
				  .server_name = "www.example.org" } },
		.interface_count = 1,
		.interfaces = { { .name = "eth0", .attached_by = "tcx" } },
	};
}

/* stdout is a variable of the C library. */
static void print(void (*form)(const struct status_report *report),
		  const struct status_report *report)
{
	FILE *kept = stdout;
	char *text = NULL;
	size_t length = 0;

	stdout = open_memstream(&text, &length);
	check(stdout);
	form(report);
	check(fclose(stdout) == 0);
	stdout = kept;
	check(length > 0 && text[length - 1] == '\n');
	free(text);
}

/* The input is laid over a sound report from a place that its first two bytes
 * choose: so that no layout is written down in the seeds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of its exact size, so that reading past it is found. */
	struct status_report *report = malloc(sizeof(*report));
	size_t place;

	check(report);
	*report = sound_report();
	check(status_report_is_sound(report));
	if (size >= 2) {
		place = (size_t)(data[0] << 8 | data[1]) % sizeof(*report);
		data += 2;
		size -= 2;
		if (size > sizeof(*report) - place)
			size = sizeof(*report) - place;
		if (size > 0)
			memcpy((char *)report + place, data, size);
	}
	if (status_report_is_sound(report)) {
		print(print_text, report);
		print(status_table_print, report);
		print(print_json, report);
		print(print_prometheus, report);
	}
	free(report);
	return 0;
}
