/* SPDX-License-Identifier: MIT */
/*
 * What a backend understands of a PROXY header: read byte by byte as the
 * protocol's text says, sharing nothing with the writer (proxy_header.h), and
 * as strict as the strictest backend.
 */
#ifndef REFERENCE_PROXY_HEADER_H
#define REFERENCE_PROXY_HEADER_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

struct reference_header {
	/* 4, 6, or 0 for "not known". */
	int family;
	uint8_t source[16];
	uint8_t destination[16];
	unsigned int source_port;
	unsigned int destination_port;
};

/* A number without leading zeros, ended by @end; NULL if it is none. */
static inline const char *reference_number(const char *text, char end,
					   unsigned int *number)
{
	const char *at = text;

	for (*number = 0; isdigit((unsigned char)*at); at++)
		*number = *number * 10 + (unsigned int)(*at - '0');
	if (at == text || at - text > 5 || (*text == '0' && at - text > 1) ||
	    *number > 65535 || *at != end)
		return NULL;
	return at + 1;
}

/* An address ended by one space; NULL if it is none. */
static inline const char *reference_address(const char *text, int family,
					    uint8_t address[static 16])
{
	const char *space = strchr(text, ' ');
	char copy[64] = "";

	if (!space || (size_t)(space - text) >= sizeof(copy))
		return NULL;
	memcpy(copy, text, (size_t)(space - text));
	if (inet_pton(family == 4 ? AF_INET : AF_INET6, copy, address) != 1)
		return NULL;
	return space + 1;
}

static inline bool reference_read_text(const uint8_t *bytes, size_t length,
				       struct reference_header *header)
{
	char line[108] = "";
	const char *at = line;

	/* Section 2.1: 107 bytes at most, the line's end included. */
	if (length >= sizeof(line) || memchr(bytes, '\0', length))
		return false;
	memcpy(line, bytes, length);
	if (strcmp(line, "PROXY UNKNOWN\r\n") == 0)
		return true;
	if (strncmp(line, "PROXY TCP4 ", 11) == 0)
		header->family = 4;
	else if (strncmp(line, "PROXY TCP6 ", 11) == 0)
		header->family = 6;
	else
		return false;
	at = reference_address(at + 11, header->family, header->source);
	if (at)
		at = reference_address(at, header->family, header->destination);
	if (at)
		at = reference_number(at, ' ', &header->source_port);
	if (at)
		at = reference_number(at, '\r', &header->destination_port);
	return at && strcmp(at, "\n") == 0;
}

static inline bool reference_read_binary(const uint8_t *bytes, size_t length,
					 struct reference_header *header)
{
	static const uint8_t signature[] = {
		0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
		0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a
	};
	size_t size;

	if (length < 16 || memcmp(bytes, signature, sizeof(signature)) != 0 ||
	    bytes[12] != 0x21 ||
	    (size_t)bytes[14] * 256 + bytes[15] + 16 != length)
		return false;
	if (bytes[13] == 0x00)
		return length == 16;
	header->family = bytes[13] == 0x11 ? 4 : bytes[13] == 0x21 ? 6 : -1;
	size = header->family == 4 ? 4 : 16;
	if (header->family < 0 || length != 16 + 2 * size + 4)
		return false;
	memcpy(header->source, bytes + 16, size);
	memcpy(header->destination, bytes + 16 + size, size);
	bytes += 16 + 2 * size;
	header->source_port = bytes[0] * 256u + bytes[1];
	header->destination_port = bytes[2] * 256u + bytes[3];
	return true;
}

/* False if a backend would refuse these bytes, or expect more. */
static inline bool reference_header_read(const uint8_t *bytes, size_t length,
					 struct reference_header *header)
{
	memset(header, 0, sizeof(*header));
	if (length > 0 && bytes[0] == 'P')
		return reference_read_text(bytes, length, header);
	return reference_read_binary(bytes, length, header);
}

#endif
