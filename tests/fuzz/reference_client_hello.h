/* SPDX-License-Identifier: MIT */
/*
 * The judgement of client_hello.h once more, the slow way: all bytes at once,
 * put together first, then taken apart from the outside in. It shares no idea
 * with the scan, so that a misreading is not made twice.
 */
#ifndef REFERENCE_CLIENT_HELLO_H
#define REFERENCE_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "hello/client_hello.h"

struct reference {
	/* Bytes of the stream up to the end of the hello. */
	size_t consumed;
	const uint8_t *server_name;
	size_t server_name_length;
	uint8_t message[CLIENT_HELLO_MAX_SIZE];
};

struct reference_slice {
	const uint8_t *bytes;
	size_t length;
	bool ok;
};

static inline struct reference_slice reference_cut(struct reference_slice *from,
						   size_t length)
{
	struct reference_slice cut = { from->bytes, length, from->ok };

	if (length > from->length)
		return (struct reference_slice){ from->bytes, 0,
						 from->ok = false };
	from->bytes += length;
	from->length -= length;
	return cut;
}

static inline size_t reference_number(struct reference_slice *from, size_t size)
{
	struct reference_slice number = reference_cut(from, size);
	size_t value = 0;

	for (size_t i = 0; i < number.length; i++)
		value = value << 8 | number.bytes[i];
	return value;
}

/* A vector with a length of @size bytes before it. */
static inline struct reference_slice
reference_vector(struct reference_slice *from, size_t size, size_t minimum,
		 size_t maximum)
{
	size_t length = reference_number(from, size);

	if (length < minimum || length > maximum)
		from->ok = false;
	return reference_cut(from, length);
}

static inline bool reference_alpn(struct reference_slice extension, bool *acme)
{
	struct reference_slice list =
		reference_vector(&extension, 2, 2, SIZE_MAX);

	while (list.ok && list.length > 0) {
		struct reference_slice name =
			reference_vector(&list, 1, 1, SIZE_MAX);

		if (name.length == 10 &&
		    memcmp(name.bytes, "acme-tls/1", 10) == 0)
			*acme = true;
	}
	return extension.ok && extension.length == 0 && list.ok;
}

static inline bool reference_sni(struct reference_slice extension,
				 struct reference *reference)
{
	struct reference_slice list =
		reference_vector(&extension, 2, 1, SIZE_MAX);

	while (list.ok && list.length > 0) {
		size_t type = reference_number(&list, 1);
		struct reference_slice name =
			reference_vector(&list, 2, type == 0 ? 1 : 0, SIZE_MAX);

		if (!list.ok || type != 0)
			continue;
		if (reference->server_name)
			return false;
		reference->server_name = name.bytes;
		reference->server_name_length = name.length;
	}
	return extension.ok && extension.length == 0 && list.ok;
}

static inline bool reference_extensions(struct reference_slice list,
					struct reference *reference)
{
	static bool seen[65536];
	size_t count = 0;
	bool acme = false;

	memset(seen, 0, sizeof(seen));
	while (list.ok && list.length > 0) {
		size_t type = reference_number(&list, 2);
		struct reference_slice data =
			reference_vector(&list, 2, 0, SIZE_MAX);

		if (!list.ok || seen[type] || ++count > HELLO_MAX_EXTENSIONS)
			return false;
		seen[type] = true;
		if (type == 16 && !reference_alpn(data, &acme))
			return false;
		if (type == 0 && !reference_sni(data, reference))
			return false;
	}
	return list.ok && acme;
}

static inline bool reference_body(struct reference_slice body,
				  struct reference *reference)
{
	struct reference_slice suites, extensions;

	if (reference_number(&body, 1) != 3)
		return false;
	reference_cut(&body, 1 + 32);
	reference_vector(&body, 1, 0, 32);
	suites = reference_vector(&body, 2, 2, SIZE_MAX);
	reference_vector(&body, 1, 1, SIZE_MAX);
	extensions = reference_vector(&body, 2, 0, SIZE_MAX);
	return body.ok && body.length == 0 && suites.length % 2 == 0 &&
	       reference_extensions(extensions, reference);
}

/* Does the stream begin with an ACME hello? */
static inline bool reference_is_acme(const uint8_t *bytes, size_t length,
				     struct reference *reference)
{
	struct reference_slice stream = { bytes, length, true };
	size_t have = 0;
	size_t want = 4;

	memset(reference, 0, sizeof(*reference));
	while (have < want) {
		size_t type = reference_number(&stream, 1);
		size_t major = reference_number(&stream, 1);
		struct reference_slice payload;

		reference_cut(&stream, 1);
		payload = reference_vector(&stream, 2, 1, 16384);
		if (!stream.ok || type != 22 || major != 3 ||
		    have + payload.length > sizeof(reference->message))
			return false;
		memcpy(reference->message + have, payload.bytes,
		       payload.length);
		have += payload.length;
		if (have >= 4)
			want = 4 + ((size_t)reference->message[1] << 16 |
				    (size_t)reference->message[2] << 8 |
				    reference->message[3]);
	}
	reference->consumed = (size_t)(stream.bytes - bytes);
	return have == want && reference->message[0] == 1 &&
	       reference->consumed <= CLIENT_HELLO_MAX_STREAM &&
	       reference_body((struct reference_slice){ reference->message + 4,
							have - 4, true },
			      reference);
}

#endif
