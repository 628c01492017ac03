/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The first bytes that a client sends, put together and judged.
 *
 * A hello that fills one segment is judged where it is read. One that needs
 * more is kept until it is told from others or until the next ones need the
 * room; its segments pass all the same.
 */
#ifndef FIRST_FLIGHT_BPF_H
#define FIRST_FLIGHT_BPF_H

#include "bpf/packet.bpf.h"

#define HELLO_SCAN_CAPACITY HANDOFF_BYTES
#include "hello/hello_scan.h"
#include "hello/proxy_preamble.h"

#define RECORD_HEADER_SIZE 5
#define RECORD_HANDSHAKE   22
/* What is looked at of each segment with data: record header, handshake header
 * and the first byte of a version. */
#define GLIMPSE_SIZE 12

#define KEPT_FLIGHTS 512
/* The worker gives a begun hello as long (include/proxy). */
#define KEPT_FOR_NS 9000000000ull

/* Items of a hello that are stepped over by one call, and calls within a call:
 * in all more than HANDOFF_BYTES can hold. */
#define STEPS_A_CALL  4
#define CALLS_A_ROUND 32
#define ROUNDS	      (HANDOFF_BYTES / 2 / STEPS_A_CALL / CALLS_A_ROUND + 1)

/* Whatever the verifier or the compiler knew of a number's range, they know it
 * no more. */
#define FORGET_RANGE(number) asm volatile("" : "+r"(number))
/* Brings a length from 1 to HANDOFF_BYTES into just this range, in a way that
 * the verifier of 5.10 follows. */
#define BOUND_LENGTH(length)                   \
	do {                                   \
		(length)--;                    \
		FORGET_RANGE(length);          \
		(length) &= HANDOFF_BYTES - 1; \
		FORGET_RANGE(length);          \
		(length)++;                    \
	} while (0)

/* A segment with data. */
struct look {
	struct segment segment;
	struct handoff_flow flow;
	/* Where its data begin in the packet; network to transport header. */
	__u32 data;
	__u32 length;
	__u32 sequence;
};

/* The event is made ready here, so that nothing is copied twice. */
struct first_flight {
	struct hello_scan scan;
	/* The scan has begun. */
	__u32 begun;
	/* Its bytes, and the numbers that name them; must be the last. */
	struct handoff_event event;
};

#define KEPT_SIZE \
	(__builtin_offsetof(struct first_flight, event.bytes) + HANDOFF_BYTES)
/* Copied at once. */
#define KEPT_PIECE 64

/* The front of a first_flight, and a little of what follows. */
struct kept_flight {
	__u64 pieces[KEPT_SIZE / KEPT_PIECE + 1][KEPT_PIECE / 8];
};

/* What one CPU works at. */
struct at_hand {
	struct look look;
	struct first_flight flight;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct at_hand);
} at_hand SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEPT_FLIGHTS);
	__type(key, struct handoff_flow);
	__type(value, struct kept_flight);
} kept_flights SEC(".maps");

/* Until then one may be kept. */
static volatile __u64 kept_until_ns SEC(".data.program");

/*
 * The functions that are neither static nor inline are verified once each, and
 * not each time they are called. They take what they work at from here, because
 * 5.10 gives them no pointers but the packet's.
 */
static __always_inline struct at_hand *find_at_hand(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&at_hand, &key);
}

/* The result of a call: a verdict, or one of these. */
#define STEP_ON	 3
#define TOO_LONG 4

__noinline int preamble_length(void)
{
	struct at_hand *at_hand = find_at_hand();

	return at_hand ? proxy_preamble_length(at_hand->flight.event.bytes,
					       at_hand->flight.event.length)
		       : 0;
}

/* A whole hello in one record has two lengths that say the same. */
static __always_inline bool is_in_one_record(const __u8 *bytes, __u32 record)
{
	const __u32 length = hello_u16(bytes, record + 3);
	const __u32 message = hello_u16(bytes, record + 7);

	return length == message + HELLO_HANDSHAKE_HEADER_SIZE &&
	       record + RECORD_HEADER_SIZE + length <= HANDOFF_BYTES;
}

/* Find where the record is, and what is in front of the extensions. */
__noinline int begin_hello(void)
{
	struct at_hand *at_hand = find_at_hand();
	struct first_flight *flight;
	const __u8 *bytes;
	__u32 record;
	int length;

	if (!at_hand)
		return HELLO_OTHER;
	flight = &at_hand->flight;
	bytes = flight->event.bytes;
	length = hello_byte(bytes, 0) == RECORD_HANDSHAKE ? 0
							  : preamble_length();
	if (length < 0)
		return HELLO_NEED_MORE;
	record = (__u32)length;
	if (flight->event.length < record + GLIMPSE_SIZE)
		return HELLO_NEED_MORE;
	if (hello_byte(bytes, record) != RECORD_HANDSHAKE ||
	    hello_byte(bytes, record + 1) != 3 ||
	    hello_byte(bytes, record + 5) != HELLO_CLIENT_HELLO ||
	    hello_byte(bytes, record + 6) != 0)
		return HELLO_OTHER;
	if (!is_in_one_record(bytes, record))
		return TOO_LONG;
	return hello_scan_begin(&flight->scan, bytes,
				record + RECORD_HEADER_SIZE,
				flight->event.length);
}

__noinline int step_over_hello(void)
{
	struct at_hand *at_hand = find_at_hand();
	enum hello_verdict verdict;
	struct hello_scan *scan;
	__u32 at, list;

	if (!at_hand)
		return HELLO_OTHER;
	scan = &at_hand->flight.scan;
	for (int i = 0; i < STEPS_A_CALL; i++) {
		/* Each step reads its state anew: one path for the verifier,
		 * whatever the last one did. */
		asm volatile("" ::: "memory");
		at = scan->at;
		list = scan->list;
		verdict = hello_scan_step(scan, at_hand->flight.event.bytes);
		if (verdict != HELLO_NEED_MORE)
			return verdict;
		asm volatile("" ::: "memory");
		if (scan->at == at && scan->list == list)
			return HELLO_NEED_MORE;
	}
	return STEP_ON;
}

__noinline int step_over_many(void)
{
	int verdict = STEP_ON;

	for (int i = 0; i < CALLS_A_ROUND; i++) {
		verdict = step_over_hello();
		if (verdict != STEP_ON)
			break;
	}
	return verdict;
}

/* Compare the extension at @at with those behind it. The offset of the next
 * one, or 0 if its type is there once more. */
__noinline int next_extension(__u32 at)
{
	struct at_hand *at_hand = find_at_hand();

	if (!at_hand || hello_scan_recurs(&at_hand->flight.scan,
					  at_hand->flight.event.bytes, &at))
		return 0;
	return (int)at;
}

/* Is no extension there twice? Many of them take long to compare: not for
 * everybody. */
static __always_inline bool
has_each_extension_once(const struct first_flight *flight)
{
	__u32 at = flight->scan.extensions;

	for (int i = 0; i < HELLO_MAX_EXTENSIONS; i++) {
		if (at >= flight->scan.end)
			return true;
		at = (__u32)next_extension(at);
		if (at == 0)
			return false;
	}
	return true;
}

/* Judge what is there of it, from where the last look ended. HELLO_ACME: if it
 * has each extension once. */
__noinline int judge_flight(void)
{
	struct at_hand *at_hand = find_at_hand();
	struct first_flight *flight;
	int verdict;

	if (!at_hand)
		return HELLO_OTHER;
	flight = &at_hand->flight;
	if (!flight->begun) {
		verdict = begin_hello();
		if (verdict != HELLO_ACME)
			return verdict;
		flight->begun = 1;
	}
	flight->scan.have = flight->event.length;
	for (int i = 0; i < ROUNDS; i++) {
		verdict = step_over_many();
		if (verdict != STEP_ON)
			break;
	}
	return verdict;
}

/* May a first flight begin like this: with a record, or a PROXY header? */
static __always_inline bool may_begin_flight(const __u8 *glimpse)
{
	const __u32 *words = (const __u32 *)glimpse;

	if (glimpse[0] == RECORD_HANDSHAKE)
		return glimpse[1] == 3 && glimpse[5] == HELLO_CLIENT_HELLO &&
		       glimpse[6] == 0 && glimpse[9] == 3;
	return words[0] == bpf_htonl(0x50524f58) /* "PROX" */ ||
	       (words[0] == bpf_htonl(0x0d0a0d0a) &&
		words[1] == bpf_htonl(0x000d0a51));
}

static __always_inline bool load_data(struct __sk_buff *skb,
				      const struct look *look,
				      struct first_flight *flight, __u32 at)
{
	__u64 length = look->length;
	__u64 offset = at;

	FORGET_RANGE(length);
	FORGET_RANGE(offset);
	if (length < 1 || length > HANDOFF_BYTES || offset > HANDOFF_BYTES ||
	    offset + length > HANDOFF_BYTES)
		return false;
	BOUND_LENGTH(length);
	FORGET_RANGE(offset);
	if (offset > HANDOFF_BYTES)
		return false;
	if (bpf_skb_load_bytes(skb, look->data, flight->event.bytes + offset,
			       (__u32)length))
		return false;
	flight->event.length = (__u32)(offset + length);
	return true;
}

static __always_inline void keep(const struct look *look,
				 const struct first_flight *flight, __u64 now)
{
	if (!bpf_map_update_elem(&kept_flights, &look->flow, flight, BPF_ANY))
		kept_until_ns = now + KEPT_FOR_NS;
}

static __always_inline void bring_back(struct first_flight *flight,
				       const struct kept_flight *kept)
{
	struct kept_flight *front = (struct kept_flight *)flight;
	__u32 length = ((const struct first_flight *)kept)->event.length +
		       __builtin_offsetof(struct first_flight, event.bytes);

	for (__u32 i = 0; i < KEPT_SIZE / KEPT_PIECE + 1; i++) {
		if (i * KEPT_PIECE >= length)
			break;
		__builtin_memcpy(front->pieces[i], kept->pieces[i], KEPT_PIECE);
	}
}

#endif
