// SPDX-License-Identifier: MIT
#include "command/print.h"

#include <stdio.h>

#include "base/address.h"

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

void print_server_name(const char *name)
{
	print_plain(*name ? name : "(no name)");
}

const char *proxy_protocol_name(uint8_t version)
{
	static const char *const names[] = {
		[PROXY_PROTOCOL_V1] = "v1",
		[PROXY_PROTOCOL_V2] = "v2",
	};

	return names[version];
}

void print_backend(const char *text, uint8_t version)
{
	print_plain(text);
	if (version != PROXY_PROTOCOL_NONE)
		printf(" (PROXY protocol %s)", proxy_protocol_name(version));
}
