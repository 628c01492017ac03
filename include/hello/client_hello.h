/* SPDX-License-Identifier: MIT */
/*
 * Is this stream the hello of an ACME validation (RFC 8737)?
 *
 * Pure. It is shown the bytes of a TCP stream from its first one on. The
 * verdict depends on the bytes alone, never on how segments or TLS records cut
 * them. What cannot be a hello shows in the headers; everything else is judged
 * once, when the message is there as a whole.
 */
#ifndef HELLO_CLIENT_HELLO_H
#define HELLO_CLIENT_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "hello/hello_scan.h"

/* The handshake message with its four-byte header. A hello with post-quantum
 * key shares is 2 KB; one full TLS record is the most that anyone needs. */
#define CLIENT_HELLO_MAX_SIZE HELLO_SCAN_CAPACITY
/* The same with all record headers: a hello cut into tiny records would
 * otherwise have to be kept at six times its size. */
#define CLIENT_HELLO_MAX_STREAM (CLIENT_HELLO_MAX_SIZE + 4096)
/* A DNS name (RFC 1035 2.3.4); longer ones are kept up to here. */
#define CLIENT_HELLO_MAX_NAME 255

struct client_hello {
	/* With HELLO_NEED_MORE: another look is in vain before so many bytes
	 * of the stream are there. With HELLO_ACME: where the hello ends. */
	size_t length;
	/* The name that is asked for as it came: any bytes, not terminated. Its
	 * true length, which may exceed what is kept; 0 if there is none, or
	 * the hello is not whole or not well-formed. */
	size_t server_name_length;
	uint8_t server_name[CLIENT_HELLO_MAX_NAME];
};

/*
 * Judge the first @length bytes of the stream. A verdict other than
 * HELLO_NEED_MORE is final: later bytes would not change it.
 */
enum hello_verdict client_hello_judge(const uint8_t *stream, size_t length,
				      struct client_hello *hello);

#endif
