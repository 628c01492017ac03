/* SPDX-License-Identifier: MIT */
/*
 * Every operation and option, once: what parsing, --help and the shells'
 * completion are made from.
 */
#ifndef COMMAND_OPTION_TABLE_H
#define COMMAND_OPTION_TABLE_H

#include <stddef.h>

#include "command/options.h"

enum option_kind {
	/* Sets a bool. */
	OPTION_FLAG,
	/* Sets enum redirect_choice to @value; with an argument, like
	 * OPTION_CHOICE. */
	OPTION_REDIRECT,
	/* Sets enum operation to @value, whatever else is said. */
	OPTION_OPERATION,
	/* Sets a const char *. */
	OPTION_TEXT,
	/* The same; see address_split(). */
	OPTION_ADDRESS,
	/* Sets an enum: to @value for the first of the words of @argument,
	 * which | separates, and to the next ones for the others. */
	OPTION_CHOICE,
	/* Appends to interfaces[]. */
	OPTION_INTERFACE,
	/* Appends to domains. */
	OPTION_DOMAIN,
	/* Sets an unsigned int from 1 to @value. */
	OPTION_NUMBER,
	/* The same, or "auto" for 0. */
	OPTION_NUMBER_OR_AUTO,
	/* Seconds, decimals allowed, kept in ms; up to @value seconds. */
	OPTION_SECONDS,
	/* The same with an optional "=SEC"; alone it means the most. */
	OPTION_OPTIONAL_SECONDS,
};

struct option_description {
	/* Of the options from this one on, in help; or NULL: as before. */
	const char *heading;
	const char *name;
	/* One more name, or NULL. */
	const char *alias;
	/* What help shows for the argument, or NULL if there is none. */
	const char *argument;
	const char *help;
	/* Bits (1 << enum operation) of those that take it. */
	unsigned int operations;
	/* Of what it sets in struct options. */
	size_t offset;
	enum option_kind kind;
	unsigned int value;
};

struct operation_description {
	const char *name;
	/* NULL: asked for by an option, and no word of the command line. */
	const char *help;
};

extern const struct option_description option_table[];
extern const size_t option_count;
/* By enum operation. */
extern const struct operation_description operation_table[];
extern const size_t operation_count;

#endif
