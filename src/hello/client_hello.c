// SPDX-License-Identifier: MIT
/*
 * The stream is records (RFC 8446 5.1), their payload one handshake message
 * (RFC 8446 4), the message a row of fields (RFC 8446 4.1.2). A field is
 * either a number, read byte by byte and held against the range that the
 * lengths around it leave, or opaque bytes, stepped over in one go.
 *
 * Each length is judged when it is read: what it encloses must fit, and what
 * must still follow must fit behind it. So a lie is found at the byte that
 * tells it, no range can wrap, and no later check can be forgotten.
 */
#include "hello/client_hello.h"

#include <string.h>

#define RECORD_HEADER_SIZE   5
#define RECORD_HANDSHAKE     22
#define RECORD_MAX_SIZE	     16384
#define MESSAGE_HEADER_SIZE  4
#define MESSAGE_CLIENT_HELLO 1
#define RANDOM_SIZE	     32
#define SESSION_ID_MAX	     32
/* RFC 6066 3 and RFC 7301 3.1 */
#define EXTENSION_SERVER_NAME 0
#define EXTENSION_ALPN	      16
#define NAME_TYPE_HOST	      0
/* RFC 8737 6.2 */
#define ACME_PROTOCOL	   "acme-tls/1"
#define ACME_PROTOCOL_SIZE (sizeof(ACME_PROTOCOL) - 1)

/* The least that an ACME hello has to bring from a field on, from the inside
 * out: the field with its length and all that must follow it. */
#define MIN_PROTOCOL	  (1 + 1)
#define MIN_ACME_PROTOCOL (1 + ACME_PROTOCOL_SIZE)
#define MIN_NAME	  (1 + 2)
#define MIN_EXTENSION	  (2 + 2)
#define MIN_ALPN	  (MIN_EXTENSION + 2 + MIN_ACME_PROTOCOL)
#define MIN_EXTENSIONS	  (2 + MIN_ALPN)
#define MIN_COMPRESSION	  (1 + 1 + MIN_EXTENSIONS)
#define MIN_CIPHER_SUITES (2 + 2 + MIN_COMPRESSION)
#define MIN_SESSION_ID	  (1 + MIN_CIPHER_SUITES)
#define MIN_BODY	  (2 + RANDOM_SIZE + MIN_SESSION_ID)

enum field {
	MESSAGE_TYPE,
	MESSAGE_LENGTH,
	LEGACY_VERSION,
	RANDOM,
	SESSION_ID_LENGTH,
	SESSION_ID,
	CIPHER_SUITES_LENGTH,
	CIPHER_SUITES,
	COMPRESSION_LENGTH,
	COMPRESSION,
	EXTENSIONS_LENGTH,
	EXTENSION_TYPE,
	EXTENSION_LENGTH,
	EXTENSION_DATA,
	PROTOCOLS_LENGTH,
	PROTOCOL_LENGTH,
	PROTOCOL,
	NAMES_LENGTH,
	NAME_TYPE,
	NAME_LENGTH,
	NAME,
};

struct field_rule {
	/* Bytes of a number; 0 for an opaque field. */
	uint8_t number_size;
	/* Judge the field, which is complete, and begin the next one. */
	void (*finish)(struct client_hello *hello);
};

/* The table at the end of the grammar. */
static const struct field_rule field_rules[NAME + 1];

static void require(struct client_hello *hello, bool condition)
{
	if (!condition)
		hello->verdict = CLIENT_HELLO_OTHER;
}

/* A number's bytes so far leave a range of values: does it meet the permitted
 * one? If not, no byte that follows can mend it. */
static bool may_become(uint32_t value, unsigned int bytes_left,
		       uint32_t minimum, uint32_t maximum)
{
	unsigned int bits = 8 * bytes_left;
	uint32_t lowest = value << bits;
	uint32_t highest = lowest | ((1u << bits) - 1);

	return highest >= minimum && lowest <= maximum;
}

static void begin_number(struct client_hello *hello, enum field field,
			 size_t minimum, size_t maximum)
{
	require(hello, minimum <= maximum);
	hello->field = (uint8_t)field;
	hello->field_left = field_rules[field].number_size;
	hello->value = 0;
	hello->minimum = (uint32_t)minimum;
	hello->maximum = (uint32_t)maximum;
}

static void begin_opaque(struct client_hello *hello, enum field field,
			 size_t length)
{
	hello->field = (uint8_t)field;
	hello->field_left = (uint16_t)length;
}

/* Can @length bytes be the rest of a protocol list that offers acme-tls/1? */
static bool protocols_fit(size_t length)
{
	return length == MIN_ACME_PROTOCOL ||
	       length >= MIN_ACME_PROTOCOL + MIN_PROTOCOL;
}

/* Can @length bytes be the rest of an extension list with such a list in it?
 * An extension or a protocol more is what can make it longer. */
static bool extensions_fit(size_t length)
{
	return length >= MIN_EXTENSION + 2 &&
	       protocols_fit(length - MIN_EXTENSION - 2);
}

/* Can @length bytes be a row of members, each of @minimum bytes or more? */
static bool members_fit(size_t length, size_t minimum)
{
	return length == 0 || length >= minimum;
}

/* RFC 8446 5.1: a hello may be followed by a change of keys, so it ends where
 * its record ends, and is not shorter than what the record still holds. */
static void bound_message_length(struct client_hello *hello)
{
	if (hello->record_left > hello->field_left + hello->minimum)
		hello->minimum =
			(uint32_t)hello->record_left - hello->field_left;
}

static void finish_message_type(struct client_hello *hello)
{
	begin_number(hello, MESSAGE_LENGTH, MIN_BODY,
		     CLIENT_HELLO_MAX_SIZE - MESSAGE_HEADER_SIZE);
	bound_message_length(hello);
}

/* The version is frozen at 3.3 and lower in old clients (RFC 8446 4.1.2 and
 * D); which one will do is the responder's to judge. */
static void finish_message_length(struct client_hello *hello)
{
	hello->message_left = (uint16_t)hello->value;
	hello->message_length_known = true;
	require(hello, hello->record_left <= hello->message_left);
	begin_number(hello, LEGACY_VERSION, 0x0300, 0x03ff);
}

static void finish_version(struct client_hello *hello)
{
	begin_opaque(hello, RANDOM, RANDOM_SIZE);
}

static void finish_random(struct client_hello *hello)
{
	size_t room = hello->message_left - MIN_SESSION_ID;

	begin_number(hello, SESSION_ID_LENGTH, 0,
		     room < SESSION_ID_MAX ? room : SESSION_ID_MAX);
}

static void finish_session_id_length(struct client_hello *hello)
{
	begin_opaque(hello, SESSION_ID, hello->value);
}

static void finish_session_id(struct client_hello *hello)
{
	begin_number(hello, CIPHER_SUITES_LENGTH, 2,
		     hello->message_left - 2 - MIN_COMPRESSION);
}

static void finish_cipher_suites_length(struct client_hello *hello)
{
	require(hello, hello->value % 2 == 0);
	begin_opaque(hello, CIPHER_SUITES, hello->value);
}

static void finish_cipher_suites(struct client_hello *hello)
{
	begin_number(hello, COMPRESSION_LENGTH, 1,
		     hello->message_left - 1 - MIN_EXTENSIONS);
}

static void finish_compression_length(struct client_hello *hello)
{
	require(hello, extensions_fit(hello->message_left - hello->value - 2));
	begin_opaque(hello, COMPRESSION, hello->value);
}

static void finish_compression(struct client_hello *hello)
{
	begin_number(hello, EXTENSIONS_LENGTH, hello->message_left - 2u,
		     hello->message_left - 2u);
}

/* The protocols are still to come, and there is room for nothing else. */
static bool only_alpn_fits(const struct client_hello *hello)
{
	return !hello->acme_offered &&
	       (hello->extension_count == CLIENT_HELLO_MAX_EXTENSIONS - 1 ||
		hello->extensions_left < MIN_EXTENSION + MIN_ALPN);
}

static void begin_extension(struct client_hello *hello)
{
	if (hello->extensions_left == 0)
		hello->verdict = hello->acme_offered ? CLIENT_HELLO_ACME
						     : CLIENT_HELLO_OTHER;
	else if (only_alpn_fits(hello))
		begin_number(hello, EXTENSION_TYPE, EXTENSION_ALPN,
			     EXTENSION_ALPN);
	else
		begin_number(hello, EXTENSION_TYPE, 0, UINT16_MAX);
}

static void finish_extensions_length(struct client_hello *hello)
{
	hello->extensions_left = (uint16_t)hello->value;
	begin_extension(hello);
}

/* RFC 8446 4.2: no two extensions of the same type. */
static void finish_extension_type(struct client_hello *hello)
{
	uint16_t type = (uint16_t)hello->value;
	size_t maximum = hello->extensions_left - (size_t)MIN_EXTENSION;
	size_t minimum = 0;

	for (size_t i = 0; i < hello->extension_count; i++)
		require(hello, hello->extension_types[i] != type);
	hello->extension_types[hello->extension_count++] = type;

	if (type == EXTENSION_ALPN)
		minimum = 2 + MIN_ACME_PROTOCOL;
	else if (!hello->acme_offered)
		maximum -= MIN_ALPN;
	if (type == EXTENSION_SERVER_NAME)
		minimum = 2 + MIN_NAME;
	if (hello->extension_count == CLIENT_HELLO_MAX_EXTENSIONS &&
	    minimum < maximum)
		minimum = maximum;
	begin_number(hello, EXTENSION_LENGTH, minimum, maximum);
}

static void finish_extension_length(struct client_hello *hello)
{
	uint16_t type = hello->extension_types[hello->extension_count - 1];
	size_t length = hello->value;
	size_t rest = hello->extensions_left - MIN_EXTENSION - length;

	hello->extensions_left = (uint16_t)rest;
	if (type == EXTENSION_ALPN || hello->acme_offered)
		require(hello, members_fit(rest, MIN_EXTENSION));
	else
		require(hello, extensions_fit(rest));

	if (type == EXTENSION_ALPN) {
		require(hello, protocols_fit(length - 2));
		begin_number(hello, PROTOCOLS_LENGTH, length - 2, length - 2);
	} else if (type == EXTENSION_SERVER_NAME) {
		begin_number(hello, NAMES_LENGTH, length - 2, length - 2);
	} else {
		begin_opaque(hello, EXTENSION_DATA, length);
	}
}

static void begin_protocol(struct client_hello *hello)
{
	if (hello->list_left > 0)
		begin_number(hello, PROTOCOL_LENGTH, 1, hello->list_left - 1u);
	else
		begin_extension(hello);
}

static void finish_protocols_length(struct client_hello *hello)
{
	hello->list_left = (uint16_t)hello->value;
	begin_protocol(hello);
}

static void finish_protocol_length(struct client_hello *hello)
{
	size_t length = hello->value;

	hello->list_left -= (uint16_t)(1 + length);
	hello->name_matches = length == ACME_PROTOCOL_SIZE;
	if (hello->name_matches || hello->acme_offered)
		require(hello, members_fit(hello->list_left, MIN_PROTOCOL));
	else
		require(hello, protocols_fit(hello->list_left));
	begin_opaque(hello, PROTOCOL, length);
}

static void finish_protocol(struct client_hello *hello)
{
	hello->acme_offered |= hello->name_matches;
	begin_protocol(hello);
}

static void begin_name(struct client_hello *hello)
{
	if (hello->list_left > 0)
		begin_number(hello, NAME_TYPE, 0, UINT8_MAX);
	else
		begin_extension(hello);
}

static void finish_names_length(struct client_hello *hello)
{
	hello->list_left = (uint16_t)hello->value;
	begin_name(hello);
}

/* RFC 6066 3: no two names of the same type; a type that is not known yet
 * begins with a length of two bytes as well. */
static void finish_name_type(struct client_hello *hello)
{
	bool host = hello->value == NAME_TYPE_HOST;

	require(hello, !host || hello->server_name_length == 0);
	hello->name_type = (uint8_t)hello->value;
	begin_number(hello, NAME_LENGTH, host ? 1 : 0,
		     hello->list_left - (size_t)MIN_NAME);
}

static void finish_name_length(struct client_hello *hello)
{
	hello->list_left -= (uint16_t)(MIN_NAME + hello->value);
	require(hello, members_fit(hello->list_left, MIN_NAME));
	if (hello->name_type == NAME_TYPE_HOST)
		hello->server_name_length = (uint16_t)hello->value;
	begin_opaque(hello, NAME, hello->value);
}

static const struct field_rule field_rules[NAME + 1] = {
	[MESSAGE_TYPE] = { 1, finish_message_type },
	[MESSAGE_LENGTH] = { 3, finish_message_length },
	[LEGACY_VERSION] = { 2, finish_version },
	[RANDOM] = { 0, finish_random },
	[SESSION_ID_LENGTH] = { 1, finish_session_id_length },
	[SESSION_ID] = { 0, finish_session_id },
	[CIPHER_SUITES_LENGTH] = { 2, finish_cipher_suites_length },
	[CIPHER_SUITES] = { 0, finish_cipher_suites },
	[COMPRESSION_LENGTH] = { 1, finish_compression_length },
	[COMPRESSION] = { 0, finish_compression },
	[EXTENSIONS_LENGTH] = { 2, finish_extensions_length },
	[EXTENSION_TYPE] = { 2, finish_extension_type },
	[EXTENSION_LENGTH] = { 2, finish_extension_length },
	[EXTENSION_DATA] = { 0, begin_extension },
	[PROTOCOLS_LENGTH] = { 2, finish_protocols_length },
	[PROTOCOL_LENGTH] = { 1, finish_protocol_length },
	[PROTOCOL] = { 0, finish_protocol },
	[NAMES_LENGTH] = { 2, finish_names_length },
	[NAME_TYPE] = { 1, finish_name_type },
	[NAME_LENGTH] = { 2, finish_name_length },
	[NAME] = { 0, begin_name },
};

static void take_number_byte(struct client_hello *hello, uint8_t byte)
{
	hello->value = hello->value << 8 | byte;
	require(hello, may_become(hello->value, hello->field_left - 1u,
				  hello->minimum, hello->maximum));
}

static void take_opaque(struct client_hello *hello, const uint8_t *bytes,
			size_t length, size_t field_left)
{
	if (hello->field == PROTOCOL && hello->name_matches) {
		size_t offset = ACME_PROTOCOL_SIZE - field_left;

		if (memcmp(bytes, &ACME_PROTOCOL[offset], length) != 0) {
			hello->name_matches = false;
			require(hello, hello->acme_offered ||
					       protocols_fit(hello->list_left));
		}
	} else if (hello->field == NAME && hello->name_type == NAME_TYPE_HOST) {
		size_t offset = hello->server_name_length - field_left;
		size_t room = CLIENT_HELLO_MAX_NAME;

		room -= offset < room ? offset : room;
		if (room > 0)
			memcpy(hello->server_name + offset, bytes,
			       length < room ? length : room);
	}
}

/* Take a piece of the current field, not more than @length bytes, and go on
 * to the next field that is not empty. Returns the bytes taken. */
static size_t feed_message(struct client_hello *hello, const uint8_t *bytes,
			   size_t length)
{
	bool number = field_rules[hello->field].number_size > 0;
	uint16_t field_left = hello->field_left;
	size_t taken = number ? 1 : field_left;

	if (taken > length)
		taken = length;
	hello->record_left -= (uint16_t)taken;
	if (hello->message_length_known)
		hello->message_left -= (uint16_t)taken;

	if (number)
		take_number_byte(hello, *bytes);
	else
		take_opaque(hello, bytes, taken, field_left);
	hello->field_left -= (uint16_t)taken;

	while (hello->verdict == CLIENT_HELLO_NEED_MORE &&
	       hello->field_left == 0)
		field_rules[hello->field].finish(hello);
	return taken;
}

/* The most that the message may still bring. */
static uint32_t message_bound(const struct client_hello *hello)
{
	uint32_t highest;

	if (hello->message_length_known)
		return hello->message_left;
	if (hello->field == MESSAGE_TYPE)
		return CLIENT_HELLO_MAX_SIZE;
	highest = ((hello->value + 1) << (8 * hello->field_left)) - 1;
	if (highest > hello->maximum)
		highest = hello->maximum;
	return hello->field_left + highest;
}

/*
 * @bytes_left of the record's length are still to come. It is not empty (RFC
 * 8446 5.1), does not reach beyond the message, and brings all that is left of
 * that if one more header would make the stream too long.
 */
static void check_record_length(struct client_hello *hello, uint8_t bytes_left)
{
	size_t stream = hello->stream_length + bytes_left + hello->message_left;
	uint32_t maximum = message_bound(hello);
	uint32_t minimum = 1;

	if (maximum > RECORD_MAX_SIZE)
		maximum = RECORD_MAX_SIZE;
	if (stream + RECORD_HEADER_SIZE > CLIENT_HELLO_MAX_STREAM)
		minimum = hello->message_left;
	require(hello,
		may_become(hello->record_left, bytes_left, minimum, maximum));
}

/* RFC 8446 5.1: the second byte of the version says nothing. */
static void feed_record_header(struct client_hello *hello, uint8_t byte)
{
	switch (hello->record_header_length++) {
	case 0:
		require(hello, byte == RECORD_HANDSHAKE);
		break;
	case 1:
		require(hello, byte == 3);
		break;
	case 3:
		hello->record_left = byte;
		check_record_length(hello, 1);
		break;
	case 4:
		hello->record_left = (uint16_t)(hello->record_left << 8 | byte);
		check_record_length(hello, 0);
		if (hello->field == MESSAGE_LENGTH)
			bound_message_length(hello);
		hello->record_header_length = 0;
		break;
	default:
		break;
	}
}

enum client_hello_verdict client_hello_feed(struct client_hello *hello,
					    const uint8_t *bytes, size_t length)
{
	if (hello->stream_length == 0)
		begin_number(hello, MESSAGE_TYPE, MESSAGE_CLIENT_HELLO,
			     MESSAGE_CLIENT_HELLO);

	while (hello->verdict == CLIENT_HELLO_NEED_MORE && length > 0) {
		size_t taken = 1;

		if (hello->record_header_length > 0 ||
		    hello->record_left == 0) {
			hello->stream_length++;
			feed_record_header(hello, *bytes);
		} else {
			taken = hello->record_left;
			if (taken > length)
				taken = length;
			taken = feed_message(hello, bytes, taken);
			hello->stream_length += (uint16_t)taken;
		}
		bytes += taken;
		length -= taken;
	}
	return hello->verdict;
}
