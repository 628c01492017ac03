/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * NAT or a firewall, which come later, may have a steered SYN dropped. A memory
 * of steered SYNs shows when one is sent again and the kernel has no trace of
 * the first. That one is passed, so that the client only loses a second.
 */
#ifndef SYN_MEMORY_BPF_H
#define SYN_MEMORY_BPF_H

#include "bpf/host.bpf.h"

/*
 * Each flow has one place in the memory, and gives it up to the next that has
 * the same: with 1000 new flows a second, the SYN that is sent again after a
 * second has lost its place in one of 65 cases, and the client waits for its
 * third. This costs a tenth of what a hash table with an order of age does.
 */
#define REMEMBERED_SYNS 65536
/* Clients send a SYN again after a second (RFC 6298, 2.1); a copy made by the
 * network comes earlier. */
#define SENT_AGAIN_NS 500000000ull

/* One word, so that two CPUs cannot write half of it each. */
union steered_syn {
	struct {
		/* Of the flow and its sequence number. */
		__u32 digest;
		__u32 ticks;
	};
	__u64 word;
};

/* What 32 bits of ticks are made of; they begin anew after 52 days. */
#define NS_PER_TICK (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REMEMBERED_SYNS);
	__type(key, __u32);
	__type(value, __u64);
} steered_syns SEC(".maps");

/* Spread over all its bits; multiplied by 2^64 divided by the golden ratio. */
static __always_inline __u64 digest_of(const struct bpf_sock_tuple *flow,
				       __u32 size, __be32 sequence)
{
	const __u32 *words = (const void *)flow;
	__u64 digest = sequence;

	for (__u32 i = 0; i < size / sizeof(*words); i++) {
		digest = (digest ^ words[i]) * 0x9e3779b97f4a7c15ull;
		digest ^= digest >> 32;
	}
	return digest;
}

/*
 * Was this SYN steered before? The kernel has no socket for the flow, so it was
 * dropped then, or answered by a cookie and the answer lost. In both cases the
 * client has seen nothing yet, and whoever answers now is right.
 */
static __always_inline bool was_dropped(const struct bpf_sock_tuple *flow,
					__u32 size, __be32 sequence, __u64 now)
{
	const __u64 digest = digest_of(flow, size, sequence);
	const __u32 ticks = (__u32)(now / NS_PER_TICK);
	union steered_syn seen;
	__u32 key = (__u32)(digest >> 32) % REMEMBERED_SYNS;
	__u64 *place;

	place = bpf_map_lookup_elem(&steered_syns, &key);
	if (!place)
		return false;
	seen.word = *place;
	if (seen.digest == (__u32)digest)
		return ticks - seen.ticks >= SENT_AGAIN_NS / NS_PER_TICK;
	seen.digest = (__u32)digest;
	seen.ticks = ticks;
	*place = seen.word;
	return false;
}

#endif
