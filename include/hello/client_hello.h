/* SPDX-License-Identifier: MIT */
/*
 * Is this stream the hello of an ACME validation (RFC 8737)?
 *
 * Pure and incremental: it is fed the bytes of a TCP stream from its first one
 * on, in pieces of any size, looks at each byte once and keeps none but the
 * server name. The verdict depends on the bytes alone, never on how segments
 * or TLS records cut them.
 */
#ifndef HELLO_CLIENT_HELLO_H
#define HELLO_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The handshake message with its four-byte header. A hello with post-quantum
 * key shares is 2 KB; one full TLS record is the most that anyone needs. */
#define CLIENT_HELLO_MAX_SIZE 16384
/* The same with all record headers: a hello cut into tiny records would
 * otherwise have to be kept at six times its size. */
#define CLIENT_HELLO_MAX_STREAM (CLIENT_HELLO_MAX_SIZE + 4096)
/* Extensions in one hello; browsers send under 20. */
#define CLIENT_HELLO_MAX_EXTENSIONS 128
/* A DNS name (RFC 1035 2.3.4); longer ones are kept up to here. */
#define CLIENT_HELLO_MAX_NAME 255

enum client_hello_verdict {
	/* So far it may become either. */
	CLIENT_HELLO_NEED_MORE,
	/* A whole, well-formed ClientHello that offers acme-tls/1. */
	CLIENT_HELLO_ACME,
	/* Anything else; said as soon as nothing that could follow would
	 * make it an ACME hello. */
	CLIENT_HELLO_OTHER,
};

/* Zero-initialised and owned by the caller; holds no memory of its own. */
struct client_hello {
	enum client_hello_verdict verdict;

	/* The host_name of the server_name extension as it came: any bytes,
	 * not terminated. Its true length, which may exceed what is kept;
	 * 0 while there is none. Trust it only with a verdict of ACME. */
	uint16_t server_name_length;
	uint8_t server_name[CLIENT_HELLO_MAX_NAME];

	/* The rest belongs to the parser. */

	/* Bytes seen, all layers. */
	uint16_t stream_length;
	/* Record layer: header bytes seen, payload bytes still to come. */
	uint8_t record_header_length;
	uint16_t record_left;
	/* Bytes of the message still to come; all of them once its header is
	 * known. */
	uint16_t message_left;
	bool message_length_known;

	/* The field being read: a number with the range it must lie in, or
	 * opaque bytes. */
	uint8_t field;
	uint16_t field_left;
	uint32_t value;
	uint32_t minimum;
	uint32_t maximum;

	/* Bytes left after the current member of the extension list, and of
	 * the list inside the current extension. */
	uint16_t extensions_left;
	uint16_t extension_length;
	uint16_t list_left;

	uint16_t extension_count;
	uint16_t extension_types[CLIENT_HELLO_MAX_EXTENSIONS];
	uint8_t name_type;
	bool name_matches;
	bool acme_offered;
};

/*
 * Take the next @length bytes of the stream and return the verdict, which is
 * final once it is not CLIENT_HELLO_NEED_MORE: later bytes are not looked at.
 */
enum client_hello_verdict client_hello_feed(struct client_hello *hello,
					    const uint8_t *bytes,
					    size_t length);

#endif
