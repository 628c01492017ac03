// SPDX-License-Identifier: MIT
#include "command/print.h"

#include <stdio.h>

void print_quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		const unsigned char byte = (unsigned char)*text;

		if (byte == '"' || byte == '\\')
			printf("\\%c", byte);
		else if (byte < 0x20 || byte >= 0x7f)
			printf("\\\\x%02x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

void print_plain(const char *text)
{
	for (; *text; text++)
		putchar(*text >= 0x20 && *text < 0x7f ? *text : '?');
}
