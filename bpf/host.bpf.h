/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Is this very host where a packet ends, or would it be routed on? Without the
 * question, the outbound https of containers behind this host would be ours.
 */
#ifndef HOST_BPF_H
#define HOST_BPF_H

#include "bpf/packet.bpf.h"

/* An address found to be this host's is taken to be for some ticks more. */
#define KNOWN_FOR_NS 20000000ull

/* This host's destinations, each with the round of the loader's in which it was
 * last seen; read only where the kernel does not tell for certain. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, HOST_DESTINATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct host_prefix);
	__type(value, __u32);
} destinations SEC(".maps");

static __always_inline struct host_address source(const struct segment *segment,
						  int family)
{
	struct host_address address = {};

	if (family == AF_INET) {
		address.words[2] = bpf_htonl(0xffff);
		address.words[3] = segment->ipv4.saddr;
	} else {
		__builtin_memcpy(address.words, segment->ipv6.saddr,
				 sizeof(address.words));
	}
	return address;
}

static __always_inline struct host_address
destination(const struct segment *segment, int family)
{
	struct host_address address = {};

	if (family == AF_INET) {
		address.words[2] = bpf_htonl(0xffff);
		address.words[3] = segment->ipv4.daddr;
	} else {
		__builtin_memcpy(address.words, segment->ipv6.daddr,
				 sizeof(address.words));
	}
	return address;
}

static __always_inline bool is_listed(const struct segment *segment, int family)
{
	struct host_prefix prefix = {
		.length = HOST_ADDRESS_BITS,
		.address = destination(segment, family),
	};

	return bpf_map_lookup_elem(&destinations, &prefix);
}

/*
 * With forwarding off, the kernel does not say. Nothing is routed on then,
 * except by devices that share ours. Nor does it tell a packet that is ours
 * from one that has no route with the mark it has at this point. Where either
 * can happen (struct program_switch), the list decides.
 */
static __always_inline bool ends_here(struct __sk_buff *skb,
				      const struct segment *segment, int family)
{
	struct bpf_fib_lookup route = {
		.family = family,
		.l4_protocol = IPPROTO_TCP,
		.sport = segment->tcp.source,
		.dport = segment->tcp.dest,
		.ifindex = skb->ifindex,
	};
	bool sure;

	if (family == AF_INET) {
		route.tos = segment->ipv4.tos;
		route.ipv4_src = segment->ipv4.saddr;
		route.ipv4_dst = segment->ipv4.daddr;
	} else {
		__builtin_memcpy(route.ipv6_src, segment->ipv6.saddr,
				 sizeof(route.ipv6_src));
		__builtin_memcpy(route.ipv6_dst, segment->ipv6.daddr,
				 sizeof(route.ipv6_dst));
	}
	switch (bpf_fib_lookup(skb, &route, sizeof(route), 0)) {
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		sure = !program_switch.shared_devices;
		break;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		sure = !program_switch.marked_rules;
		break;
	default:
		return false;
	}
	return sure || is_listed(segment, family);
}

/*
 * The same, asked once for many SYNs: the route lookup is a third of a SYN's
 * cost. In a flood, where that counts, they come to one address. If that address
 * is removed from the host in between, a SYN may be lost, and is sent again.
 */
static __always_inline bool
known_to_end_here(struct __sk_buff *skb, const struct segment *segment,
		  int family, struct host_memory *known, __u64 now)
{
	const struct host_address address = destination(segment, family);

	if (!known)
		return ends_here(skb, segment, family);
	if (now < known->until_ns &&
	    known->destination.words[3] == address.words[3] &&
	    known->destination.words[2] == address.words[2] &&
	    known->destination.words[1] == address.words[1] &&
	    known->destination.words[0] == address.words[0])
		return true;
	if (!ends_here(skb, segment, family))
		return false;
	known->destination = address;
	known->until_ns = now + KNOWN_FOR_NS;
	return true;
}

#endif
