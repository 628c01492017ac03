// SPDX-License-Identifier: MIT
/*
 * The stream is records (RFC 8446 5.1), their payload one handshake message
 * (RFC 8446 4), whose grammar is in hello_scan.h.
 */
#include "hello/client_hello.h"

#include <stdbool.h>
#include <string.h>

#define RECORD_HEADER_SIZE 5
#define RECORD_HANDSHAKE   22
#define RECORD_MAX_SIZE	   16384

/* The message as it is put together from its records. */
struct message {
	/* The stream's own while one record holds all, then @joined. */
	const uint8_t *bytes;
	/* Bytes of it that are there, and that its records have announced. */
	size_t have;
	size_t announced;
	/* As its header tells; 0 until that is there. */
	size_t length;
	uint8_t joined[CLIENT_HELLO_MAX_SIZE];
};

/* Is it TLS, as far as @length bytes of a record tell? The second byte of the
 * version says nothing (RFC 8446 5.1). */
static bool may_be_record(const uint8_t *record, size_t length)
{
	if (length > 0 && record[0] != RECORD_HANDSHAKE)
		return false;
	return length < 2 || record[1] == 3;
}

static bool read_header(struct message *message)
{
	const uint8_t *bytes = message->bytes;

	if (message->have > 0 && bytes[0] != HELLO_CLIENT_HELLO)
		return false;
	if (message->have >= HELLO_HANDSHAKE_HEADER_SIZE)
		message->length = HELLO_HANDSHAKE_HEADER_SIZE +
				  ((size_t)bytes[1] << 16 |
				   (size_t)bytes[2] << 8 | bytes[3]);
	return message->length <= CLIENT_HELLO_MAX_SIZE;
}

/*
 * Take what is there of a payload of @size bytes. A hello may be followed by a
 * change of keys, so it ends where its record ends (RFC 8446 5.1).
 */
static bool take_payload(struct message *message, const uint8_t *payload,
			 size_t there, size_t size)
{
	if (size == 0 || size > RECORD_MAX_SIZE ||
	    message->announced + size > sizeof(message->joined))
		return false;
	if (message->announced == 0) {
		message->bytes = payload;
	} else {
		if (message->bytes != message->joined)
			memcpy(message->joined, message->bytes, message->have);
		memcpy(message->joined + message->have, payload, there);
		message->bytes = message->joined;
	}
	message->have += there;
	message->announced += size;
	return read_header(message) &&
	       (!message->length || message->announced <= message->length);
}

/* HELLO_ACME: the message is there as a whole. @wanted as client_hello.length. */
static enum hello_verdict collect(const uint8_t *stream, size_t length,
				  struct message *message, size_t *wanted)
{
	size_t at = 0;

	for (;;) {
		const size_t missing = message->length - message->announced;
		size_t size, there;

		*wanted = length + 1;
		if (message->length)
			*wanted = at +
				  (missing ? RECORD_HEADER_SIZE + missing : 0);
		if (message->length && *wanted > CLIENT_HELLO_MAX_STREAM)
			return HELLO_OTHER;
		if (at > length)
			return HELLO_NEED_MORE;
		if (message->length && !missing)
			return HELLO_ACME;
		if (!may_be_record(stream + at, length - at))
			return HELLO_OTHER;
		if (length - at < RECORD_HEADER_SIZE)
			return HELLO_NEED_MORE;
		size = (size_t)stream[at + 3] << 8 | stream[at + 4];
		at += RECORD_HEADER_SIZE;
		there = length - at < size ? length - at : size;
		if (!take_payload(message, stream + at, there, size))
			return HELLO_OTHER;
		at += size;
	}
}

/* What @offered says of acme-tls/1 beforehand is not looked for. */
static enum hello_verdict scan(const struct message *message, bool offered,
			       struct hello_scan *scan)
{
	enum hello_verdict verdict = hello_scan_begin(scan, message->bytes, 0,
						      (__u32)message->length);
	__u32 at;

	if (verdict != HELLO_ACME)
		return HELLO_OTHER;
	scan->acme_offered = offered;
	do {
		verdict = hello_scan_step(scan, message->bytes);
	} while (verdict == HELLO_NEED_MORE);
	at = scan->extensions;
	while (verdict == HELLO_ACME && at < scan->end) {
		if (hello_scan_recurs(scan, message->bytes, &at))
			verdict = HELLO_OTHER;
	}
	return verdict;
}

static void keep_name(const struct message *message,
		      const struct hello_scan *scan, struct client_hello *hello)
{
	size_t kept = scan->name_length;

	hello->server_name_length = kept;
	if (kept > sizeof(hello->server_name))
		kept = sizeof(hello->server_name);
	memcpy(hello->server_name, message->bytes + scan->name, kept);
}

enum hello_verdict client_hello_judge(const uint8_t *stream, size_t length,
				      struct client_hello *hello)
{
	struct message message;
	enum hello_verdict verdict;
	struct hello_scan parts;

	/* But for the buffer, which is written before it is read. */
	message.bytes = NULL;
	message.have = message.announced = message.length = 0;
	hello->server_name_length = 0;
	verdict = collect(stream, length, &message, &hello->length);
	if (verdict != HELLO_ACME)
		return verdict;
	verdict = scan(&message, false, &parts);
	/* The last look ended where it was sure; the name may come later. */
	if (verdict == HELLO_ACME || scan(&message, true, &parts) == HELLO_ACME)
		keep_name(&message, &parts, hello);
	return verdict;
}
