// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "hello/client_hello.h"
#include "tests/fuzz/reference_client_hello.h"
#include "tests/unit/hello_builder.h"

static const char *const only_acme[] = { "acme-tls/1", NULL };
static const char *const acme_first[] = { "acme-tls/1", "h2", NULL };
static const char *const acme_last[] = { "h2", "http/1.1", "acme-tls/1", NULL };
static const char *const acme_inside[] = { "h2", "acme-tls/1", "h3", NULL };
static const char *const browser[] = { "h2", "http/1.1", NULL };
static const char *const nearly[] = { "acme-tls/2", "acme-tls/11", "acme-tls/",
				      "ACME-TLS/1", "xacme-tls/1", NULL };

static const struct hello_spec acme_specs[] = {
	{ .protocols = only_acme, .server_name = "example.org" },
	{ .protocols = only_acme },
	{ .protocols = acme_first, .session_id = 32 },
	{ .protocols = acme_last, .session_id = 32, .grease = true },
	{ .protocols = acme_inside, .alpn_first = true, .key_share = 70 },
	/* X25519MLKEM768 */
	{ .protocols = only_acme,
	  .server_name = "example.org",
	  .key_share = 1258,
	  .cipher_suites = 30,
	  .session_id = 32,
	  .padding = 300 },
	{ .protocols = only_acme, .padding = 5000 },
	{ .protocols = only_acme, .padding = 16000 },
};

static const struct hello_spec other_specs[] = {
	{ .server_name = "example.org" },
	{ .protocols = browser, .server_name = "example.org", .grease = true },
	{ .protocols = nearly },
};

static enum client_hello_verdict verdict_of(const uint8_t *bytes, size_t length)
{
	struct client_hello hello = { 0 };

	return client_hello_feed(&hello, bytes, length);
}

/* Bytes needed for a verdict when fed one by one; it must not change again. */
static size_t decided_after(const uint8_t *bytes, size_t length,
			    enum client_hello_verdict *verdict)
{
	struct client_hello hello = { 0 };
	size_t decided = length;

	*verdict = CLIENT_HELLO_NEED_MORE;
	for (size_t i = 0; i < length; i++) {
		enum client_hello_verdict now =
			client_hello_feed(&hello, bytes + i, 1);

		if (*verdict == CLIENT_HELLO_NEED_MORE) {
			*verdict = now;
			decided = i + 1;
		}
		assert_int_equal(now, *verdict);
	}
	return decided;
}

static struct hello *build(const struct hello_spec *spec)
{
	static struct hello hello;

	memset(&hello, 0, sizeof(hello));
	hello_build(&hello, spec);
	return &hello;
}

static void finds_acme_when_the_hello_is_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acme_specs); i++) {
		const struct hello *hello = build(&acme_specs[i]);
		enum client_hello_verdict verdict;

		assert_int_equal(verdict_of(hello->bytes, hello->length),
				 CLIENT_HELLO_ACME);
		assert_int_equal(
			decided_after(hello->bytes, hello->length, &verdict),
			hello->length);
		assert_int_equal(verdict, CLIENT_HELLO_ACME);
		/* What follows the hello is not its business. */
		assert_int_equal(verdict_of(hello->bytes, hello->length + 100),
				 CLIENT_HELLO_ACME);
	}
}

static void sends_others_on_before_the_hello_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(other_specs); i++) {
		const struct hello *hello = build(&other_specs[i]);
		enum client_hello_verdict verdict;

		assert_true(decided_after(hello->bytes, hello->length,
					  &verdict) <= hello->length);
		assert_int_equal(verdict, CLIENT_HELLO_OTHER);
	}
}

static void keeps_the_server_name(void **state)
{
	char long_name[400];
	struct hello_spec spec = { .protocols = only_acme };
	static const size_t lengths[] = { 1, 11, 254, 255, 256, 399 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct client_hello hello = { 0 };
		const struct hello *built;
		size_t kept = lengths[i] < 255 ? lengths[i] : 255;

		for (size_t j = 0; j < lengths[i]; j++)
			long_name[j] = (char)('a' + j % 26);
		long_name[lengths[i]] = '\0';
		spec.server_name = long_name;
		built = build(&spec);
		for (size_t j = 0; j < built->length; j += 3)
			client_hello_feed(
				&hello, built->bytes + j,
				built->length - j < 3 ? built->length - j : 3);
		assert_int_equal(hello.verdict, CLIENT_HELLO_ACME);
		assert_int_equal(hello.server_name_length, lengths[i]);
		assert_memory_equal(hello.server_name, long_name, kept);
	}
}

static void is_the_same_for_every_cut_in_two_segments(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acme_specs); i++) {
		const struct hello *built = build(&acme_specs[i]);

		for (size_t cut = 0; cut <= built->length; cut++) {
			struct client_hello hello = { 0 };

			assert_int_equal(
				client_hello_feed(&hello, built->bytes, cut),
				cut < built->length ? CLIENT_HELLO_NEED_MORE
						    : CLIENT_HELLO_ACME);
			assert_int_equal(client_hello_feed(&hello,
							   built->bytes + cut,
							   built->length - cut),
					 CLIENT_HELLO_ACME);
		}
	}
}

static void is_the_same_for_every_cut_in_two_records(void **state)
{
	static struct hello cut_hello;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acme_specs); i++) {
		const struct hello *whole = build(&acme_specs[i]);
		size_t message = whole->length - 5;
		size_t step = message > 4000 ? 97 : 1;

		for (size_t cut = 1; cut < message; cut += step) {
			enum client_hello_verdict verdict;
			size_t first;

			hello_records(&cut_hello, whole->bytes + 5, cut, cut);
			first = cut_hello.length;
			memcpy(cut_hello.bytes + first, whole->bytes, 3);
			cut_hello.length += 3;
			hello_number(&cut_hello, message - cut, 2);
			hello_bytes(&cut_hello, whole->bytes + 5 + cut,
				    message - cut);
			assert_int_equal(
				verdict_of(cut_hello.bytes, cut_hello.length),
				CLIENT_HELLO_ACME);
			assert_int_equal(decided_after(cut_hello.bytes,
						       cut_hello.length,
						       &verdict),
					 cut_hello.length);
			assert_int_equal(verdict, CLIENT_HELLO_ACME);
		}
	}
}

static void takes_records_of_every_size_up_to_a_limit(void **state)
{
	struct hello_spec spec = { .protocols = only_acme };

	(void)state;
	for (spec.record_size = 1; spec.record_size < 200; spec.record_size++)
		assert_int_equal(
			verdict_of(build(&spec)->bytes, build(&spec)->length),
			CLIENT_HELLO_ACME);

	/* 10 kB are 60 kB in records of one byte. */
	spec.padding = 10000;
	spec.record_size = 1;
	{
		const struct hello *hello = build(&spec);
		enum client_hello_verdict verdict;
		size_t decided =
			decided_after(hello->bytes, hello->length, &verdict);

		assert_int_equal(verdict, CLIENT_HELLO_OTHER);
		assert_true(decided <= CLIENT_HELLO_MAX_STREAM - 8000);
	}
}

static void knows_the_size_limit(void **state)
{
	struct hello_spec spec = { .protocols = only_acme };
	size_t rest = build(&spec)->length - 5 + 4;

	(void)state;
	spec.padding = CLIENT_HELLO_MAX_SIZE - rest;
	assert_int_equal(build(&spec)->length, 5 + CLIENT_HELLO_MAX_SIZE);
	assert_int_equal(verdict_of(build(&spec)->bytes, build(&spec)->length),
			 CLIENT_HELLO_ACME);

	spec.padding++;
	{
		const struct hello *hello = build(&spec);
		enum client_hello_verdict verdict;

		/* The length of the message tells. */
		assert_int_equal(
			decided_after(hello->bytes, hello->length, &verdict),
			5 + 4);
		assert_int_equal(verdict, CLIENT_HELLO_OTHER);
	}
}

static void knows_the_extension_limit(void **state)
{
	static const struct hello_spec spec = { .protocols = only_acme };
	static struct hello hello;

	(void)state;
	for (size_t count = CLIENT_HELLO_MAX_EXTENSIONS - 1;
	     count <= CLIENT_HELLO_MAX_EXTENSIONS; count++) {
		size_t record, message, list;

		memset(&hello, 0, sizeof(hello));
		hello_number(&hello, 0x160301, 3);
		record = hello_begin(&hello, 2);
		hello_number(&hello, 1, 1);
		message = hello_begin(&hello, 3);
		hello_number(&hello, 0x0303, 2);
		hello_fill(&hello, 32);
		hello_number(&hello, 0, 1);
		hello_number(&hello, 0x00021301, 4);
		hello_number(&hello, 0x0100, 2);
		list = hello_begin(&hello, 2);
		for (size_t i = 0; i < count; i++) {
			hello_number(&hello, 1000 + i, 2);
			hello_number(&hello, 0, 2);
		}
		hello_protocols(&hello, &spec);
		hello_end(&hello, list);
		hello_end(&hello, message);
		hello_end(&hello, record);
		assert_int_equal(verdict_of(hello.bytes, hello.length),
				 count < CLIENT_HELLO_MAX_EXTENSIONS
					 ? CLIENT_HELLO_ACME
					 : CLIENT_HELLO_OTHER);
	}
}

/* Each length in turn says too little, too much, nothing, all. */
static void believes_no_lying_length(void **state)
{
	static uint8_t bytes[HELLO_CAPACITY];
	static const struct hello_spec spec = {
		.protocols = acme_inside,
		.server_name = "example.org",
		.session_id = 32,
		.key_share = 40,
		.padding = 20,
		.grease = true,
	};
	const struct hello *hello = build(&spec);

	(void)state;
	for (size_t i = 0; i < hello->length_count; i++) {
		struct hello_length field = hello->lengths[i];
		size_t true_value = 0;

		for (size_t j = 0; j < field.size; j++)
			true_value = true_value << 8 |
				     hello->bytes[field.offset + j];
		const size_t lies[] = { true_value - 1,	 true_value + 1,
					true_value - 2,	 true_value + 2,
					true_value / 2,	 true_value + 13,
					true_value + 17, 0,
					SIZE_MAX };

		for (size_t j = 0; j < ARRAY_SIZE(lies); j++) {
			if (lies[j] == true_value)
				continue;
			memset(bytes, 0, sizeof(bytes));
			memcpy(bytes, hello->bytes, hello->length);
			for (size_t k = 0; k < field.size; k++)
				bytes[field.offset + k] =
					(uint8_t)(lies[j] >>
						  (8 * (field.size - 1 - k)));
			assert_int_equal(verdict_of(bytes, sizeof(bytes)),
					 CLIENT_HELLO_OTHER);
		}
	}
}

static void waits_for_the_rest_of_a_truncated_hello(void **state)
{
	const struct hello *hello = build(&acme_specs[3]);

	(void)state;
	for (size_t length = 0; length < hello->length; length++)
		assert_int_equal(verdict_of(hello->bytes, length),
				 CLIENT_HELLO_NEED_MORE);
}

static void refuses_repeated_extensions(void **state)
{
	static const struct hello_spec twice[] = {
		{ .protocols = only_acme, .alpn_twice = true },
		{ .protocols = only_acme, .padding = 9, .padding_twice = true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(twice); i++)
		assert_int_equal(verdict_of(build(&twice[i])->bytes,
					    build(&twice[i])->length),
				 CLIENT_HELLO_OTHER);
}

/* One change to a good hello, and the byte that gives it away. */
struct flaw {
	const char *name;
	size_t offset;
	const char *bytes;
	size_t length;
	size_t decided;
};

static void names_the_flaw_at_its_byte(void **state)
{
	static const struct hello_spec spec = {
		.protocols = only_acme,
		.server_name = "example.org",
	};
	const struct hello *hello = build(&spec);
	/* record 0-4, header 5-8, version 9, random 11, session 43, suites 44,
	 * compression 48, list 50, server_name 52-71, versions 72-80,
	 * ALPN 81-97 */
	const struct flaw flaws[] = {
		{ "alert record", 0, "\x15", 1, 1 },
		{ "SSLv2 hello", 0, "\x80\x2e\x01", 3, 1 },
		{ "version 2.x", 1, "\x02", 1, 2 },
		{ "empty record", 3, "\x00\x00", 2, 5 },
		{ "record over 16 KiB", 3, "\x40\x01", 2, 5 },
		{ "record of 64 KiB", 3, "\xff\xff", 2, 4 },
		{ "ServerHello", 5, "\x02", 1, 6 },
		{ "message of 16 MB", 6, "\xff\xff\xff", 3, 7 },
		{ "message shorter than its record", 8, "\x58", 1, 9 },
		{ "message too short for a hello", 8, "\x3b", 1, 9 },
		{ "protocol version 2.x", 9, "\x02", 1, 10 },
		{ "session id of 33", 43, "\x21", 1, 44 },
		{ "odd cipher suites", 45, "\x03", 1, 46 },
		{ "no cipher suite", 45, "\x00", 1, 46 },
		{ "no compression method", 48, "\x00", 1, 49 },
		{ "extensions beyond the message", 51, "\x2f", 1, 52 },
		{ "extension beyond the list", 54, "\xff", 1, 55 },
		{ "empty server_name", 54, "\x00\x00", 2, 56 },
		{ "name list shorter than its extension", 57, "\x0d", 1, 58 },
		{ "empty host name", 59, "\x00\x00", 2, 61 },
		{ "ALPN beyond the list", 84, "\x0e", 1, 85 },
		{ "protocol list shorter than ALPN", 86, "\x0a", 1, 87 },
		{ "empty protocol", 87, "\x00", 1, 88 },
		{ "protocol beyond the list", 87, "\x0b", 1, 88 },
		{ "another protocol", 88, "b", 1, 89 },
		{ "nearly the protocol", 97, "2", 1, 98 },
	};

	(void)state;
	assert_int_equal(hello->length, 98);
	for (size_t i = 0; i < ARRAY_SIZE(flaws); i++) {
		uint8_t bytes[98];
		enum client_hello_verdict verdict;
		size_t decided;

		memcpy(bytes, hello->bytes, sizeof(bytes));
		memcpy(bytes + flaws[i].offset, flaws[i].bytes,
		       flaws[i].length);
		decided = decided_after(bytes, sizeof(bytes), &verdict);
		if (verdict != CLIENT_HELLO_OTHER ||
		    decided != flaws[i].decided)
			fail_msg("%s: verdict %d at byte %zu, not %zu",
				 flaws[i].name, verdict, decided,
				 flaws[i].decided);
	}
}

static void knows_other_protocols_by_their_first_bytes(void **state)
{
	static const char *const greetings[] = {
		"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x80\x2e\x01\x00\x02",
		"\r\n\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(greetings); i++)
		assert_int_equal(verdict_of((const uint8_t *)greetings[i], 1),
				 CLIENT_HELLO_OTHER);
	assert_int_equal(verdict_of((const uint8_t *)"\x16", 1),
			 CLIENT_HELLO_NEED_MORE);
	assert_int_equal(verdict_of(NULL, 0), CLIENT_HELLO_NEED_MORE);
}

/* Random bytes, the same in each run. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Up to three bytes changed. */
static void mutate(struct hello *hello, uint32_t *seed)
{
	for (uint32_t i = next_random(seed) % 4; i > 0; i--)
		hello->bytes[next_random(seed) % hello->length] =
			(uint8_t)next_random(seed);
}

/* A good hello with some flaws, in records of any size. */
static const struct hello *mutated(uint32_t *seed)
{
	struct hello_spec spec =
		acme_specs[next_random(seed) % (ARRAY_SIZE(acme_specs) - 2)];
	struct hello *hello;

	if (next_random(seed) % 2)
		spec.record_size = 1 + next_random(seed) % 150;
	hello = build(&spec);
	mutate(hello, seed);
	return hello;
}

static void agrees_with_the_reference(void **state)
{
	static struct reference reference;
	uint32_t seed = 1;
	size_t acme = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		const struct hello *built = mutated(&seed);
		bool expected = reference_is_acme(built->bytes, built->length,
						  &reference);
		struct client_hello hello = { 0 };
		size_t fed = 0;

		while (fed < built->length) {
			size_t piece = 1 + next_random(&seed) % 60;

			if (piece > built->length - fed)
				piece = built->length - fed;
			client_hello_feed(&hello, built->bytes + fed, piece);
			fed += piece;
		}
		assert_int_equal(hello.verdict == CLIENT_HELLO_ACME, expected);
		if (!expected)
			continue;
		acme++;
		assert_int_equal(hello.server_name_length,
				 reference.server_name_length);
		assert_memory_equal(hello.server_name, reference.server_name,
				    hello.server_name_length);
	}
	/* Both kinds were there. */
	assert_in_range(acme, 4000, 16000);
}

/* Bytes found one by one that lead from @hello to CLIENT_HELLO_ACME. */
static void find_a_way_to_acme(struct client_hello hello, uint32_t *seed)
{
	while (hello.verdict == CLIENT_HELLO_NEED_MORE) {
		uint32_t first = next_random(seed);
		struct client_hello next;
		uint32_t tried = 0;

		do {
			uint8_t byte = (uint8_t)(first + tried);

			if (tried++ > UINT8_MAX)
				fail_msg("dead end in field %u after %u bytes",
					 hello.field, hello.stream_length);
			next = hello;
			client_hello_feed(&next, &byte, 1);
		} while (next.verdict == CLIENT_HELLO_OTHER);
		hello = next;
	}
	assert_int_equal(hello.verdict, CLIENT_HELLO_ACME);
}

/*
 * CLIENT_HELLO_NEED_MORE is never said in vain: from wherever it was said a
 * stream can be found that ends in CLIENT_HELLO_ACME. So no OTHER could have
 * been said earlier.
 */
static void never_waits_in_vain(void **state)
{
	uint32_t seed = 7;
	size_t searched = 0;

	(void)state;
	for (int i = 0; i < 600; i++) {
		const struct hello *built = mutated(&seed);
		struct client_hello hello = { 0 };
		size_t length = next_random(&seed) % built->length;

		if (client_hello_feed(&hello, built->bytes, length) ==
		    CLIENT_HELLO_NEED_MORE) {
			find_a_way_to_acme(hello, &seed);
			searched++;
		}
	}
	assert_in_range(searched, 100, 600);
}

/* The same where record headers have eaten up the room for more of them. */
static void never_waits_in_vain_near_the_stream_limit(void **state)
{
	uint32_t seed = 3;
	size_t searched = 0;

	(void)state;
	for (int i = 0; i < 40; i++) {
		const struct hello_spec spec = {
			.protocols = acme_last,
			.padding = 14000 + next_random(&seed) % 2000,
			.record_size = 18 + next_random(&seed) % 4,
		};
		const struct hello *built = build(&spec);
		struct client_hello hello = { 0 };
		size_t fed = 0;

		/* As far as it goes, in steps. */
		while (hello.verdict == CLIENT_HELLO_NEED_MORE &&
		       fed < built->length) {
			struct client_hello before = hello;

			client_hello_feed(&hello, built->bytes + fed++, 1);
			if (hello.verdict != CLIENT_HELLO_NEED_MORE ||
			    (fed > 20200 && fed % 7 == 0)) {
				find_a_way_to_acme(before, &seed);
				searched++;
			}
		}
	}
	assert_in_range(searched, 40, 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_acme_when_the_hello_is_complete),
		cmocka_unit_test(sends_others_on_before_the_hello_ends),
		cmocka_unit_test(keeps_the_server_name),
		cmocka_unit_test(is_the_same_for_every_cut_in_two_segments),
		cmocka_unit_test(is_the_same_for_every_cut_in_two_records),
		cmocka_unit_test(takes_records_of_every_size_up_to_a_limit),
		cmocka_unit_test(knows_the_size_limit),
		cmocka_unit_test(knows_the_extension_limit),
		cmocka_unit_test(believes_no_lying_length),
		cmocka_unit_test(waits_for_the_rest_of_a_truncated_hello),
		cmocka_unit_test(refuses_repeated_extensions),
		cmocka_unit_test(names_the_flaw_at_its_byte),
		cmocka_unit_test(knows_other_protocols_by_their_first_bytes),
		cmocka_unit_test(agrees_with_the_reference),
		cmocka_unit_test(never_waits_in_vain),
		cmocka_unit_test(never_waits_in_vain_near_the_stream_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
