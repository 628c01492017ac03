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

/* In a buffer of its exact size, so that reading past it is found. */
static enum hello_verdict verdict_of(const uint8_t *bytes, size_t length)
{
	struct client_hello hello;
	uint8_t *exact = malloc(length);
	enum hello_verdict verdict;

	assert_true(exact || length == 0);
	if (length > 0)
		memcpy(exact, bytes, length);
	verdict = client_hello_judge(exact, length, &hello);
	free(exact);
	/* Another look is never in vain for longer than it says. */
	if (verdict == HELLO_NEED_MORE)
		assert_in_range(hello.length, length + 1,
				CLIENT_HELLO_MAX_STREAM);
	return verdict;
}

/* Bytes needed for a verdict when they come one by one; it must not change
 * again, nor come before the length that was asked for. */
static size_t decided_after(const uint8_t *bytes, size_t length,
			    enum hello_verdict *verdict)
{
	struct client_hello hello = { .length = 1 };
	size_t decided = length;

	*verdict = HELLO_NEED_MORE;
	for (size_t i = 1; i <= length; i++) {
		const size_t wanted = hello.length;
		enum hello_verdict now = client_hello_judge(bytes, i, &hello);

		if (now == HELLO_ACME)
			assert_true(i >= wanted);
		if (*verdict == HELLO_NEED_MORE) {
			*verdict = now;
			decided = i;
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
		enum hello_verdict verdict;

		assert_int_equal(verdict_of(hello->bytes, hello->length),
				 HELLO_ACME);
		assert_int_equal(
			decided_after(hello->bytes, hello->length, &verdict),
			hello->length);
		assert_int_equal(verdict, HELLO_ACME);
		/* What follows the hello is not its business. */
		assert_int_equal(verdict_of(hello->bytes, hello->length + 100),
				 HELLO_ACME);
	}
}

static void sends_others_on_before_the_hello_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(other_specs); i++) {
		const struct hello *hello = build(&other_specs[i]);
		enum hello_verdict verdict;

		assert_true(decided_after(hello->bytes, hello->length,
					  &verdict) <= hello->length);
		assert_int_equal(verdict, HELLO_OTHER);
	}
}

static void keeps_the_server_name(void **state)
{
	char long_name[400];
	struct hello_spec spec = { .protocols = only_acme };
	static const size_t lengths[] = { 1, 11, 254, 255, 256, 399 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct client_hello hello;
		const struct hello *built;
		size_t kept = lengths[i] < 255 ? lengths[i] : 255;

		for (size_t j = 0; j < lengths[i]; j++)
			long_name[j] = (char)('a' + j % 26);
		long_name[lengths[i]] = '\0';
		spec.server_name = long_name;
		built = build(&spec);
		assert_int_equal(
			client_hello_judge(built->bytes, built->length, &hello),
			HELLO_ACME);
		assert_int_equal(hello.length, built->length);
		assert_int_equal(hello.server_name_length, lengths[i]);
		assert_memory_equal(hello.server_name, long_name, kept);
	}
}

static void tells_the_name_of_others_too(void **state)
{
	static const struct hello_spec spec = { .protocols = browser,
						.server_name = "example.org",
						.alpn_first = true };
	const struct hello *built = build(&spec);
	struct client_hello hello;

	(void)state;
	assert_int_equal(
		client_hello_judge(built->bytes, built->length, &hello),
		HELLO_OTHER);
	assert_int_equal(hello.server_name_length, strlen("example.org"));
	assert_memory_equal(hello.server_name, "example.org",
			    hello.server_name_length);
}

static void asks_for_all_of_a_hello_in_one_record(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acme_specs); i++) {
		const struct hello *built = build(&acme_specs[i]);

		for (size_t cut = 9; cut < built->length; cut++) {
			struct client_hello hello;

			assert_int_equal(
				client_hello_judge(built->bytes, cut, &hello),
				HELLO_NEED_MORE);
			assert_int_equal(hello.length, built->length);
		}
	}
}

/* A hello that comes byte by byte, in records of one byte, must not cost more
 * looks than a few: each goes over all of it. */
static void is_looked_at_a_few_times_however_it_comes(void **state)
{
	struct hello_spec spec = { .protocols = only_acme, .padding = 3000 };

	(void)state;
	for (spec.record_size = 1; spec.record_size < 40; spec.record_size++) {
		const struct hello *built = build(&spec);
		struct client_hello hello = { .length = 1 };
		size_t looks = 0;

		for (size_t i = 1; i <= built->length; i++) {
			if (i < hello.length)
				continue;
			looks++;
			if (client_hello_judge(built->bytes, i, &hello) !=
			    HELLO_NEED_MORE)
				break;
		}
		assert_int_equal(hello.length, built->length);
		assert_in_range(looks, 1, 90);
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
			enum hello_verdict verdict;
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
				HELLO_ACME);
			assert_int_equal(decided_after(cut_hello.bytes,
						       cut_hello.length,
						       &verdict),
					 cut_hello.length);
			assert_int_equal(verdict, HELLO_ACME);
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
			HELLO_ACME);

	/* 10 kB are 60 kB in records of one byte. */
	spec.padding = 10000;
	spec.record_size = 1;
	{
		const struct hello *hello = build(&spec);
		enum hello_verdict verdict;
		size_t decided =
			decided_after(hello->bytes, hello->length, &verdict);

		assert_int_equal(verdict, HELLO_OTHER);
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
			 HELLO_ACME);

	spec.padding++;
	{
		const struct hello *hello = build(&spec);
		enum hello_verdict verdict;

		/* The length of the message tells. */
		assert_int_equal(
			decided_after(hello->bytes, hello->length, &verdict),
			5 + 4);
		assert_int_equal(verdict, HELLO_OTHER);
	}
}

static void knows_the_extension_limit(void **state)
{
	static const struct hello_spec spec = { .protocols = only_acme };
	static struct hello hello;

	(void)state;
	for (size_t count = HELLO_MAX_EXTENSIONS - 1;
	     count <= HELLO_MAX_EXTENSIONS; count++) {
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
				 count < HELLO_MAX_EXTENSIONS ? HELLO_ACME
							      : HELLO_OTHER);
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
					 HELLO_OTHER);
		}
	}
}

static void waits_for_the_rest_of_a_truncated_hello(void **state)
{
	const struct hello *hello = build(&acme_specs[3]);

	(void)state;
	for (size_t length = 0; length < hello->length; length++)
		assert_int_equal(verdict_of(hello->bytes, length),
				 HELLO_NEED_MORE);
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
				 HELLO_OTHER);
}

/* One change to a good hello, and after how many bytes it is given away: the
 * headers tell at once, the rest when all is there. */
struct flaw {
	const char *name;
	size_t offset;
	const char *bytes;
	size_t length;
	size_t decided;
};

static void names_the_flaw(void **state)
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
		{ "record of 64 KiB", 3, "\xff\xff", 2, 5 },
		{ "ServerHello", 5, "\x02", 1, 6 },
		{ "message of 16 MB", 6, "\xff\xff\xff", 3, 9 },
		{ "message shorter than its record", 8, "\x58", 1, 9 },
		{ "message too short for a hello", 8, "\x3b", 1, 9 },
		{ "protocol version 2.x", 9, "\x02", 1, 98 },
		{ "session id of 33", 43, "\x21", 1, 98 },
		{ "odd cipher suites", 45, "\x03", 1, 98 },
		{ "no cipher suite", 45, "\x00", 1, 98 },
		{ "no compression method", 48, "\x00", 1, 98 },
		{ "extensions beyond the message", 51, "\x2f", 1, 98 },
		{ "extension beyond the list", 54, "\xff", 1, 98 },
		{ "empty server_name", 54, "\x00\x00", 2, 98 },
		{ "name list shorter than its extension", 57, "\x0d", 1, 98 },
		{ "empty host name", 59, "\x00\x00", 2, 98 },
		{ "ALPN beyond the list", 84, "\x0e", 1, 98 },
		{ "protocol list shorter than ALPN", 86, "\x0a", 1, 98 },
		{ "empty protocol", 87, "\x00", 1, 98 },
		{ "protocol beyond the list", 87, "\x0b", 1, 98 },
		{ "another protocol", 88, "b", 1, 98 },
		{ "nearly the protocol", 97, "2", 1, 98 },
	};

	(void)state;
	assert_int_equal(hello->length, 98);
	for (size_t i = 0; i < ARRAY_SIZE(flaws); i++) {
		uint8_t bytes[98];
		enum hello_verdict verdict;
		size_t decided;

		memcpy(bytes, hello->bytes, sizeof(bytes));
		memcpy(bytes + flaws[i].offset, flaws[i].bytes,
		       flaws[i].length);
		decided = decided_after(bytes, sizeof(bytes), &verdict);
		if (verdict != HELLO_OTHER || decided != flaws[i].decided)
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
				 HELLO_OTHER);
	assert_int_equal(verdict_of((const uint8_t *)"\x16", 1),
			 HELLO_NEED_MORE);
	assert_int_equal(verdict_of(NULL, 0), HELLO_NEED_MORE);
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
		struct client_hello hello;

		assert_int_equal(client_hello_judge(built->bytes, built->length,
						    &hello) == HELLO_ACME,
				 expected);
		if (!expected)
			continue;
		acme++;
		assert_int_equal(hello.length, reference.consumed);
		assert_int_equal(hello.server_name_length,
				 reference.server_name_length);
		assert_memory_equal(hello.server_name, reference.server_name,
				    hello.server_name_length);
	}
	/* Both kinds were there. */
	assert_in_range(acme, 4000, 16000);
}

/* Whatever was said of a beginning holds for all that begins like it. */
static void keeps_to_its_verdict(void **state)
{
	uint32_t seed = 7;

	(void)state;
	for (int i = 0; i < 300; i++) {
		const struct hello *built = mutated(&seed);
		enum hello_verdict verdict;

		decided_after(built->bytes, built->length, &verdict);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_acme_when_the_hello_is_complete),
		cmocka_unit_test(sends_others_on_before_the_hello_ends),
		cmocka_unit_test(keeps_the_server_name),
		cmocka_unit_test(tells_the_name_of_others_too),
		cmocka_unit_test(asks_for_all_of_a_hello_in_one_record),
		cmocka_unit_test(is_looked_at_a_few_times_however_it_comes),
		cmocka_unit_test(is_the_same_for_every_cut_in_two_records),
		cmocka_unit_test(takes_records_of_every_size_up_to_a_limit),
		cmocka_unit_test(knows_the_size_limit),
		cmocka_unit_test(knows_the_extension_limit),
		cmocka_unit_test(believes_no_lying_length),
		cmocka_unit_test(waits_for_the_rest_of_a_truncated_hello),
		cmocka_unit_test(refuses_repeated_extensions),
		cmocka_unit_test(names_the_flaw),
		cmocka_unit_test(knows_other_protocols_by_their_first_bytes),
		cmocka_unit_test(agrees_with_the_reference),
		cmocka_unit_test(keeps_to_its_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
