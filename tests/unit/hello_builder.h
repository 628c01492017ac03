/* SPDX-License-Identifier: MIT */
/* Well-formed ClientHellos for tests, and where their lengths are. */
#ifndef HELLO_BUILDER_H
#define HELLO_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HELLO_CAPACITY	  (64 * 1024)
#define HELLO_MAX_LENGTHS 512

struct hello_spec {
	/* NULL-terminated; NULL leaves the extension out. */
	const char *const *protocols;
	/* NULL leaves the extension out. */
	const char *server_name;
	/* Bytes of a padding extension (RFC 7685), of a key share, of cipher
	 * suites beyond the first one. */
	size_t padding;
	size_t key_share;
	size_t cipher_suites;
	size_t session_id;
	/* RFC 8701 values among suites, extensions and protocols. */
	bool grease;
	/* The protocols come before the other extensions. */
	bool alpn_first;
	/* A second copy of the ALPN or of the padding extension. */
	bool alpn_twice;
	bool padding_twice;
	/* Payload bytes in each record; 0 for all that fits. */
	size_t record_size;
};

struct hello_length {
	size_t offset;
	size_t size;
};

struct hello {
	uint8_t bytes[HELLO_CAPACITY];
	size_t length;
	/* Length fields of the message, for tests that make them lie; offsets
	 * are right for a hello in one record. */
	struct hello_length lengths[HELLO_MAX_LENGTHS];
	size_t length_count;
};

static inline void hello_number(struct hello *hello, size_t value, size_t size)
{
	while (size-- > 0)
		hello->bytes[hello->length++] = (uint8_t)(value >> (8 * size));
}

static inline void hello_bytes(struct hello *hello, const void *bytes,
			       size_t length)
{
	memcpy(hello->bytes + hello->length, bytes, length);
	hello->length += length;
}

static inline void hello_fill(struct hello *hello, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hello->bytes[hello->length++] = (uint8_t)(i * 37 + length);
}

/* Reserve a length field; hello_end() writes it. */
static inline size_t hello_begin(struct hello *hello, size_t size)
{
	hello->lengths[hello->length_count] =
		(struct hello_length){ hello->length, size };
	hello_number(hello, 0, size);
	return hello->length_count++;
}

static inline void hello_end(struct hello *hello, size_t index)
{
	struct hello_length field = hello->lengths[index];
	size_t end = hello->length;

	hello->length = field.offset;
	hello_number(hello, end - field.offset - field.size, field.size);
	hello->length = end;
}

static inline void hello_opaque_extension(struct hello *hello, unsigned type,
					  size_t length)
{
	size_t field;

	hello_number(hello, type, 2);
	field = hello_begin(hello, 2);
	hello_fill(hello, length);
	hello_end(hello, field);
}

static inline void hello_protocols(struct hello *hello,
				   const struct hello_spec *spec)
{
	size_t extension, list, name;

	hello_number(hello, 16, 2);
	extension = hello_begin(hello, 2);
	list = hello_begin(hello, 2);
	if (spec->grease) {
		name = hello_begin(hello, 1);
		hello_number(hello, 0x6a6a, 2);
		hello_end(hello, name);
	}
	for (size_t i = 0; spec->protocols[i]; i++) {
		name = hello_begin(hello, 1);
		hello_bytes(hello, spec->protocols[i],
			    strlen(spec->protocols[i]));
		hello_end(hello, name);
	}
	hello_end(hello, list);
	hello_end(hello, extension);
}

static inline void hello_server_name(struct hello *hello, const char *text)
{
	size_t extension, list, name;

	hello_number(hello, 0, 2);
	extension = hello_begin(hello, 2);
	list = hello_begin(hello, 2);
	hello_number(hello, 0, 1);
	name = hello_begin(hello, 2);
	hello_bytes(hello, text, strlen(text));
	hello_end(hello, name);
	hello_end(hello, list);
	hello_end(hello, extension);
}

static inline void hello_extensions(struct hello *hello,
				    const struct hello_spec *spec)
{
	size_t list = hello_begin(hello, 2);

	if (spec->protocols && spec->alpn_first)
		hello_protocols(hello, spec);
	if (spec->grease)
		hello_opaque_extension(hello, 0x3a3a, 0);
	if (spec->server_name)
		hello_server_name(hello, spec->server_name);
	hello_opaque_extension(hello, 43, 5);
	if (spec->key_share)
		hello_opaque_extension(hello, 51, spec->key_share);
	if (spec->padding)
		hello_opaque_extension(hello, 21, spec->padding);
	if (spec->padding_twice)
		hello_opaque_extension(hello, 21, spec->padding);
	if (spec->protocols && !spec->alpn_first)
		hello_protocols(hello, spec);
	if (spec->alpn_twice)
		hello_protocols(hello, spec);
	if (spec->grease)
		hello_opaque_extension(hello, 0xcaca, 1);
	hello_end(hello, list);
}

static inline void hello_message(struct hello *hello,
				 const struct hello_spec *spec)
{
	size_t message, field;

	hello_number(hello, 1, 1);
	message = hello_begin(hello, 3);
	hello_number(hello, 0x0303, 2);
	hello_fill(hello, 32);
	field = hello_begin(hello, 1);
	hello_fill(hello, spec->session_id);
	hello_end(hello, field);
	field = hello_begin(hello, 2);
	if (spec->grease)
		hello_number(hello, 0x8a8a, 2);
	hello_number(hello, 0x1301, 2);
	hello_fill(hello, spec->cipher_suites);
	hello_end(hello, field);
	field = hello_begin(hello, 1);
	hello_number(hello, 0, 1);
	hello_end(hello, field);
	hello_extensions(hello, spec);
	hello_end(hello, message);
}

/* Cut @message into records of @size payload bytes behind each other. */
static inline void hello_records(struct hello *hello, const uint8_t *message,
				 size_t length, size_t size)
{
	hello->length = 0;
	while (length > 0) {
		size_t payload = length < size ? length : size;

		hello_number(hello, 0x160301, 3);
		hello_number(hello, payload, 2);
		hello_bytes(hello, message, payload);
		message += payload;
		length -= payload;
	}
}

/* @hello must be freshly zeroed. */
static inline void hello_build(struct hello *hello,
			       const struct hello_spec *spec)
{
	static uint8_t message[HELLO_CAPACITY];
	size_t size = spec->record_size ? spec->record_size : 16384;

	/* So that offsets count the record header. */
	hello_fill(hello, 5);
	hello_message(hello, spec);
	memcpy(message, hello->bytes + 5, hello->length - 5);
	hello_records(hello, message, hello->length - 5, size);
}

#endif
