// SPDX-License-Identifier: MIT
/*
 * A tool of the build, run on the machine that builds: print the table that
 * parses the command line, one line an entry, for fill.awk.
 *
 *   operation NAME HELP
 *   option    NAME ALIAS VALUE GROUP HELP
 *
 * The fields are separated by tabs. VALUE is what help calls it, "INTERFACE"
 * where a shell can list them, "=..." if it is optional, or empty. GROUP is
 * "redirect" for options that exclude each other, "list" for one that may be
 * repeated, or empty.
 */
#include <stdio.h>
#include <stdlib.h>

#include "command/options.h"

static void print_option(const struct option_description *option)
{
	const char *group = "";
	const char *prefix = "";
	const char *value = option->argument ? option->argument : "";

	switch (option->kind) {
	case OPTION_REDIRECT:
		group = "redirect";
		break;
	case OPTION_INTERFACE:
		group = "list";
		value = "INTERFACE";
		break;
	case OPTION_NAMESPACE:
		group = "list";
		value = "PATH";
		break;
	case OPTION_DOMAIN:
		group = "list";
		break;
	case OPTION_OPTIONAL_SECONDS:
		prefix = "=";
		break;
	default:
		break;
	}
	printf("option\t%s\t%s\t%s%s\t%s\t%s\n", option->name,
	       option->alias ? option->alias : "", prefix, value, group,
	       option->help);
}

int main(void)
{
	for (size_t i = 0; i < operation_count; i++)
		if (operation_table[i].help)
			printf("operation\t%s\t%s\n", operation_table[i].name,
			       operation_table[i].help);
	for (size_t i = 0; i < option_count; i++)
		print_option(&option_table[i]);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
