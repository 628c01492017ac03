/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The PROXY header, of either version, that a balancer may send before the
 * client's bytes (HAProxy's doc/proxy-protocol.txt).
 *
 * Pure, and the same for the worker and for the handoff program in the kernel,
 * as hello_scan.h is.
 */
#ifndef HELLO_PROXY_PREAMBLE_H
#define HELLO_PROXY_PREAMBLE_H

#include "hello/hello_scan.h"

/* The longest that is taken for one: version 2 may bring 64 KB, but is meant to
 * fit into one segment. */
#define PROXY_PREAMBLE_MAX_LENGTH 2048

/* So far the bytes may be the beginning of a header. */
#define PROXY_PREAMBLE_NEED_MORE (-1)

/* Section 2.1: a line, which ends within so many bytes. */
#define PROXY_PREAMBLE_TEXT	   "PROXY "
#define PROXY_PREAMBLE_TEXT_LENGTH 107

/* Section 2.2: signature, version and command, family, length of the rest. */
#define PROXY_PREAMBLE_SIGNATURE	"\r\n\r\n\0\r\nQUIT\n"
#define PROXY_PREAMBLE_SIGNATURE_LENGTH 12
#define PROXY_PREAMBLE_BINARY_LENGTH	16
#define PROXY_PREAMBLE_VERSION_2	2

HELLO_INLINE int proxy_preamble_text_length(const __u8 *bytes, __u32 length)
{
	for (__u32 i = 0; i < PROXY_PREAMBLE_TEXT_LENGTH; i++) {
		if (i >= length)
			return PROXY_PREAMBLE_NEED_MORE;
		if (i < sizeof(PROXY_PREAMBLE_TEXT) - 1 &&
		    bytes[i] != (__u8)PROXY_PREAMBLE_TEXT[i])
			return 0;
		if (bytes[i] == '\n')
			return bytes[i - 1] == '\r' ? (int)i + 1 : 0;
	}
	return 0;
}

HELLO_INLINE int proxy_preamble_binary_length(const __u8 *bytes, __u32 length)
{
	__u32 whole;

	for (__u32 i = 0; i < PROXY_PREAMBLE_SIGNATURE_LENGTH; i++) {
		if (i >= length)
			return PROXY_PREAMBLE_NEED_MORE;
		if (bytes[i] != (__u8)PROXY_PREAMBLE_SIGNATURE[i])
			return 0;
	}
	if (length > PROXY_PREAMBLE_SIGNATURE_LENGTH &&
	    bytes[PROXY_PREAMBLE_SIGNATURE_LENGTH] >> 4 !=
		    PROXY_PREAMBLE_VERSION_2)
		return 0;
	if (length < PROXY_PREAMBLE_BINARY_LENGTH)
		return PROXY_PREAMBLE_NEED_MORE;
	whole = PROXY_PREAMBLE_BINARY_LENGTH +
		((__u32)bytes[14] << 8 | bytes[15]);
	if (whole > PROXY_PREAMBLE_MAX_LENGTH)
		return 0;
	return whole > length ? PROXY_PREAMBLE_NEED_MORE : (int)whole;
}

/*
 * The length of the header that a stream of which @length bytes have come
 * begins with; 0 if it begins with none, or PROXY_PREAMBLE_NEED_MORE.
 */
HELLO_INLINE int proxy_preamble_length(const __u8 *bytes, __u32 length)
{
	if (length > 0 && bytes[0] == PROXY_PREAMBLE_TEXT[0])
		return proxy_preamble_text_length(bytes, length);
	return proxy_preamble_binary_length(bytes, length);
}

#endif
