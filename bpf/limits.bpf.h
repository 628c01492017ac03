/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose challenges are taken, and how many: each costs some 400 us of a core,
 * and whoever can reach the port can send some. What is beyond is for the web
 * server, as any other connection.
 *
 * A CA sends one for each name from each of its five or so networks: mostly one
 * name after another, but some clients have it validate all hundred names of a
 * certificate at once. So a network may have a hundred at once. What it has
 * beyond the first few comes out of one half of what there is for all; the
 * other half is kept for those who have had few. With that, whoever is to keep
 * a CA's challenges out needs some twenty networks (of IPv6 five of 48 bits),
 * and has a tenth of a core at most.
 */
#ifndef LIMITS_BPF_H
#define LIMITS_BPF_H

#include "bpf/first_flight.bpf.h"

#define NS_PER_SECOND 1000000000ull
/* Of all together, and of one network: the first 24 bits of an IPv4 address,
 * 64 of an IPv6 one. Whoever has one network of IPv6 has many: as many as four
 * may those have together that have the first 48 bits in common, which is what
 * one site has; with fewer bits a CA in a cloud would share with strangers. */
#define MOVES_A_SECOND	       200
#define MOVES_AT_ONCE	       400
#define NETWORK_MOVES_A_SECOND 10
#define NETWORK_MOVES_AT_ONCE  100
#define NETWORK_MOVES_FEW      20
#define NETWORKS_TOGETHER      4
#define NETWORKS	       4096
/* Challenges whose connection is not here; each costs a question to
 * conntrack. */
#define ELSEWHERE_A_SECOND 100
#define ELSEWHERE_AT_ONCE  50

/* When the last token is used up, at the rate that is allowed. */
struct token_bucket {
	__u64 empty_until_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NETWORKS);
	__type(key, struct host_address);
	__type(value, struct token_bucket);
} network_buckets SEC(".maps");

static struct token_bucket all_networks SEC(".data.program");
static struct token_bucket all_elsewhere SEC(".data.program");

/* The names whose challenges are taken, if not all are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HANDOFF_NAMES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct handoff_name);
	__type(value, __u32);
} handoff_names SEC(".maps");

/* A name as it is looked up, where its first period is (0 for none), and what
 * copy_name() is to do. */
struct asked_name {
	struct handoff_name name;
	__u32 period;
	__u32 length;
	__u32 from;
	__u32 to;
};

/* Bytes that are copied by one call. */
#define COPIED_A_CALL 16

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct asked_name);
} name_at_hand SEC(".maps");

static __always_inline bool take_token(volatile struct token_bucket *bucket,
				       __u64 now, __u64 a_second, __u64 at_once)
{
	__u64 until = bucket->empty_until_ns;

	if (until < now)
		until = now;
	if (until - now >= NS_PER_SECOND / a_second * at_once)
		return false;
	bucket->empty_until_ns = until + NS_PER_SECOND / a_second;
	return true;
}

/* One for the network, or as if for so many @networks. Not @few any more: it
 * has had more than that of late. */
static __always_inline bool
take_network_token(const struct host_address *network, __u64 networks,
		   __u64 now, bool *few)
{
	const __u64 a_second = networks * NETWORK_MOVES_A_SECOND;
	const struct token_bucket unused = {};
	struct token_bucket *bucket;

	bucket = bpf_map_lookup_elem(&network_buckets, network);
	if (!bucket) {
		bpf_map_update_elem(&network_buckets, network, &unused,
				    BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&network_buckets, network);
	}
	if (!bucket || !take_token(bucket, now, a_second,
				   networks * NETWORK_MOVES_AT_ONCE))
		return false;
	if (bucket->empty_until_ns - now >
	    NS_PER_SECOND / a_second * networks * NETWORK_MOVES_FEW)
		*few = false;
	return true;
}

static __always_inline bool is_within_limits(const struct host_address *client,
					     __u64 now)
{
	struct host_address network = *client;
	bool few = true;

	if (!network.words[0] && !network.words[1]) {
		network.words[3] &= bpf_htonl(0xffffff00);
		if (!take_network_token(&network, 1, now, &few))
			return false;
	} else {
		network.words[2] = network.words[3] = 0;
		if (!take_network_token(&network, 1, now, &few))
			return false;
		/* No network of 64 bits has this name. */
		network.words[1] &= bpf_htonl(0xffff0000);
		network.words[3] = 1;
		if (!take_network_token(&network, NETWORKS_TOGETHER, now, &few))
			return false;
	}
	return take_token(&all_networks, now, MOVES_A_SECOND,
			  few ? MOVES_AT_ONCE : MOVES_AT_ONCE / 2);
}

/*
 * Copy some bytes of the name that the hello asks for, in lower case, from
 * asked->from to asked->to, and move both on; zeros behind its end. Nothing
 * stays in registers: the verifier would keep track of it.
 */
__noinline int copy_some(void)
{
	struct at_hand *at_hand = find_at_hand();
	struct first_flight *flight;
	struct asked_name *asked;
	__u32 key = 0;

	asked = bpf_map_lookup_elem(&name_at_hand, &key);
	if (!at_hand || !asked)
		return 0;
	flight = &at_hand->flight;
	for (int i = 0; i < COPIED_A_CALL; i++) {
		__u32 byte = 0, to;

		asm volatile("" ::: "memory");
		if (asked->from < asked->length)
			byte = hello_byte(flight->event.bytes,
					  flight->scan.name + asked->from);
		if (byte - 'A' <= 'Z' - 'A')
			byte |= 0x20;
		if (byte == '.' && !asked->period)
			asked->period = asked->from;
		to = asked->to;
		if (to < HANDOFF_NAME_SIZE)
			asked->name.bytes[to] = (__u8)byte;
		asked->from++;
		asked->to++;
	}
	return 1;
}

static __always_inline void copy_name(struct asked_name *asked, __u32 from,
				      __u32 to)
{
	asked->from = from;
	asked->to = to;
	for (int i = 0; i < HANDOFF_NAME_SIZE / COPIED_A_CALL; i++)
		copy_some();
}

/* As domain_list_takes() of src/hello says, but for labels that are none: the
 * worker, who asks it, has the last word. */
static __always_inline bool is_name_listed(const struct first_flight *flight)
{
	struct asked_name *asked;
	__u32 key = 0, last;

	asked = bpf_map_lookup_elem(&name_at_hand, &key);
	if (!asked || flight->scan.name_length == 0 ||
	    flight->scan.name_length >= HANDOFF_NAME_SIZE)
		return false;
	last = flight->scan.name_length - 1;
	asked->length = last + 1;
	if (hello_byte(flight->event.bytes, flight->scan.name + last) == '.')
		asked->length = last;
	asked->period = 0;
	copy_name(asked, 0, 0);
	if (bpf_map_lookup_elem(&handoff_names, &asked->name))
		return true;
	if (!asked->period)
		return false;
	asked->name.bytes[0] = '*';
	copy_name(asked, asked->period, 1);
	return bpf_map_lookup_elem(&handoff_names, &asked->name);
}

#endif
