// SPDX-License-Identifier: MIT
/*
 * Writes the seeds of fuzz_client_hello into the folder named:
 *
 *   cc -iquote include -I. -o /tmp/make_seeds tests/fuzz/make_seeds.c
 *   /tmp/make_seeds tests/fuzz/seeds/client_hello
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/hello_builder.h"

static const char *const only_acme[] = { "acme-tls/1", NULL };
static const char *const acme_last[] = { "h2", "http/1.1", "acme-tls/1", NULL };
static const char *const browser[] = { "h2", "http/1.1", NULL };

static const struct {
	const char *name;
	struct hello_spec spec;
} seeds[] = {
	{ "validation",
	  { .protocols = only_acme, .server_name = "a.example" } },
	{ "grease",
	  { .protocols = acme_last,
	    .server_name = "a.example",
	    .session_id = 32,
	    .key_share = 38,
	    .grease = true } },
	{ "records", { .protocols = only_acme, .record_size = 40 } },
	{ "browser",
	  { .protocols = browser, .server_name = "a.example", .padding = 20 } },
};

int main(int argc, char **argv)
{
	static struct hello hello;

	if (argc != 2)
		return EXIT_FAILURE;
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		char path[4096];
		FILE *file;

		memset(&hello, 0, sizeof(hello));
		hello_build(&hello, &seeds[i].spec);
		snprintf(path, sizeof(path), "%s/%s", argv[1], seeds[i].name);
		file = fopen(path, "w");
		if (!file || fputc(0, file) == EOF ||
		    fwrite(hello.bytes, 1, hello.length, file) !=
			    hello.length ||
		    fclose(file) != 0) {
			perror(path);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}
