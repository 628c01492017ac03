/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The headers of a segment to the service port.
 *
 * Headers are counted from the network header, which only a helper knows: that
 * serves Ethernet, VLANs and devices without a link layer (tun, wireguard)
 * alike. But a helper's call is what costs here, and most packets are none of
 * ours: so where an Ethernet header cannot be mistaken, the packet itself is
 * read first.
 *
 * The family is no field but an argument: the compiler makes two programs of
 * it, and no path reads what the other family's did not write.
 */
#ifndef PACKET_BPF_H
#define PACKET_BPF_H

#include "bpf/control.bpf.h"

#define ETH_P_IP	0x0800
#define ETH_P_IPV6	0x86dd
#define VLAN_VID_MASK	0x0fff
#define PACKET_HOST	0
#define IP_FRAGMENT	0x3fff /* "more fragments", or an offset */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP	6
#define IPPROTO_UDP	17
#define IPPROTO_ROUTING 43
#define IPPROTO_DSTOPTS 60
#define AF_INET		2
#define AF_INET6	10

/* Extension headers looked behind: more than one of each kind is unheard of. */
#define IPV6_MAX_EXTENSIONS 6
/* Link, network and TCP headers, with room for options. */
#define LONGEST_HEADERS 192

/*
 * The headers of a segment. The IP header, of either family, lies right before
 * the TCP header, as it does in nearly every packet: one load gets both.
 */
struct segment {
	union {
		struct ipv6hdr ipv6;
		struct {
			__u8 unused[sizeof(struct ipv6hdr) -
				    sizeof(struct iphdr)];
			struct iphdr ipv4;
		};
	};
	struct tcphdr tcp;
	/* From the network header on, behind options and extensions. */
	__u32 tcp_offset;
};

/*
 * Frames for others are seen where a device is promiscuous or has macvlans on
 * it. Frames that still carry a VLAN tag belong to a VLAN device, possibly in
 * another network namespace, and are seen again there; VLAN 0 is only a
 * priority.
 */
static __always_inline bool is_ours(const struct __sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST &&
	       (!skb->vlan_present || !(skb->vlan_tci & VLAN_VID_MASK));
}

/*
 * Some drivers leave headers in page fragments when GRO is off. The helper
 * reads only what is linear, so try again after a pull.
 */
static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to,
				 __u32 size)
{
	if (!bpf_skb_load_bytes_relative(skb, offset, to, size,
					 BPF_HDR_START_NET))
		return true;
	bpf_skb_pull_data(skb, skb->len < LONGEST_HEADERS ? skb->len
							  : LONGEST_HEADERS);
	return !bpf_skb_load_bytes_relative(skb, offset, to, size,
					    BPF_HDR_START_NET);
}

static __always_inline bool is_for_service(const struct tcphdr *tcp)
{
	return tcp->dest == config.service_port;
}

/* One that TCP can be found behind. */
static __always_inline bool is_extension(__u8 next_header)
{
	return next_header == IPPROTO_HOPOPTS ||
	       next_header == IPPROTO_ROUTING || next_header == IPPROTO_DSTOPTS;
}

/* On older kernels what leaves a tunnel (ipip) still has the outer headers in
 * front, which are not its own. */
static __always_inline bool may_be_tunnel(__u8 protocol)
{
	return protocol != IPPROTO_TCP && protocol != IPPROTO_UDP;
}

/* What a look into the linear part of the packet tells. */
enum glance {
	/* Nothing for certain. */
	GLANCE_UNCLEAR,
	GLANCE_OTHER,
	/* The headers of a segment to the service have been loaded. */
	GLANCE_SERVICE,
};

/*
 * Does the packet begin with an Ethernet header, and not with an IP header
 * whose addresses happen to look like that? The first byte of a frame to this
 * host is even (no multicast), and its type is the packet's. 0x42, as of cloud
 * providers, is no IP header: that would be shorter than allowed.
 */
static __always_inline bool is_ethernet(const struct __sk_buff *skb,
					const struct ethhdr *ethernet)
{
	const __u8 first = ethernet->dest[0];

	return ethernet->proto == skb->protocol &&
	       !(first >= 0x45 && first <= 0x4f) &&
	       !(first >= 0x60 && first <= 0x6f);
}

static __always_inline enum glance glance_ipv4(const struct __sk_buff *skb,
					       struct segment *segment)
{
	const struct ethhdr *ethernet = (void *)(long)skb->data;
	const struct iphdr *ip = (void *)(ethernet + 1);
	const struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end ||
	    !is_ethernet(skb, ethernet) || ip->version != 4 ||
	    ip->ihl != sizeof(*ip) / 4)
		return GLANCE_UNCLEAR;
	if (may_be_tunnel(ip->protocol))
		return GLANCE_UNCLEAR;
	if (ip->protocol != IPPROTO_TCP ||
	    ip->frag_off & bpf_htons(IP_FRAGMENT) || !is_for_service(tcp))
		return GLANCE_OTHER;
	segment->ipv4 = *ip;
	segment->tcp = *tcp;
	segment->tcp_offset = sizeof(*ip);
	return GLANCE_SERVICE;
}

static __always_inline enum glance glance_ipv6(const struct __sk_buff *skb,
					       struct segment *segment)
{
	const struct ethhdr *ethernet = (void *)(long)skb->data;
	const struct ipv6hdr *ip = (void *)(ethernet + 1);
	const struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end ||
	    !is_ethernet(skb, ethernet) || *(__u8 *)ip >> 4 != 6 ||
	    is_extension(ip->nexthdr) || may_be_tunnel(ip->nexthdr))
		return GLANCE_UNCLEAR;
	if (ip->nexthdr != IPPROTO_TCP || !is_for_service(tcp))
		return GLANCE_OTHER;
	segment->ipv6 = *ip;
	segment->tcp = *tcp;
	segment->tcp_offset = sizeof(*ip);
	return GLANCE_SERVICE;
}

static __always_inline bool load_ipv4(struct __sk_buff *skb,
				      struct segment *segment)
{
	struct iphdr *ip = &segment->ipv4;

	if (!load(skb, 0, ip, sizeof(*ip) + sizeof(segment->tcp)))
		return false;
	if (ip->protocol != IPPROTO_TCP ||
	    ip->frag_off & bpf_htons(IP_FRAGMENT))
		return false;
	segment->tcp_offset = ip->ihl * 4;
	if (segment->tcp_offset != sizeof(*ip) &&
	    !load(skb, segment->tcp_offset, &segment->tcp,
		  sizeof(segment->tcp)))
		return false;
	return is_for_service(&segment->tcp);
}

/*
 * Find TCP behind extension headers. A fragment header ends the search (only
 * the first fragment has ports), and so does a routing header with segments
 * left: the packet does not end at this host.
 */
static __always_inline bool load_behind_extensions(struct __sk_buff *skb,
						   struct segment *segment)
{
	__u32 offset = sizeof(segment->ipv6);
	__u8 next = segment->ipv6.nexthdr;
	struct ipv6_extension extension;

	for (int i = 0; i < IPV6_MAX_EXTENSIONS; i++) {
		if (!is_extension(next))
			return false;
		if (!load(skb, offset, &extension, sizeof(extension)))
			return false;
		if (next == IPPROTO_ROUTING && extension.segments_left)
			return false;
		offset += (extension.hdrlen + 1) * 8;
		next = extension.nexthdr;
		if (next == IPPROTO_TCP) {
			segment->tcp_offset = offset;
			return load(skb, offset, &segment->tcp,
				    sizeof(segment->tcp));
		}
	}
	return false;
}

static __always_inline bool load_ipv6(struct __sk_buff *skb,
				      struct segment *segment)
{
	struct ipv6hdr *ip = &segment->ipv6;

	if (!load(skb, 0, ip, sizeof(*ip) + sizeof(segment->tcp)))
		return false;
	segment->tcp_offset = sizeof(*ip);
	if (ip->nexthdr != IPPROTO_TCP && !load_behind_extensions(skb, segment))
		return false;
	return is_for_service(&segment->tcp);
}

/* Load the headers of a packet of that family; true if they are those of a
 * segment to the service port. */
static __always_inline bool find_ipv4_segment(struct __sk_buff *skb,
					      struct segment *segment)
{
	const enum glance glance = glance_ipv4(skb, segment);

	return glance == GLANCE_SERVICE ||
	       (glance == GLANCE_UNCLEAR && load_ipv4(skb, segment));
}

static __always_inline bool find_ipv6_segment(struct __sk_buff *skb,
					      struct segment *segment)
{
	const enum glance glance = glance_ipv6(skb, segment);

	return glance == GLANCE_SERVICE ||
	       (glance == GLANCE_UNCLEAR && load_ipv6(skb, segment));
}

/*
 * How much data the segment claims to carry, which is less than the frame
 * holds where that is padded; below zero where the lengths contradict each
 * other. A length of zero in the IP header (an IPv6 jumbogram, or a merged
 * segment of more than 64 kB) is such a one.
 */
static __always_inline int payload_length(const struct segment *segment,
					  int family)
{
	const int total =
		family == AF_INET
			? bpf_ntohs(segment->ipv4.tot_len)
			: (int)sizeof(segment->ipv6) +
				  bpf_ntohs(segment->ipv6.payload_len);

	return total - (int)segment->tcp_offset - segment->tcp.doff * 4;
}

/* What the helpers want to know of a flow; the rest stays zero. */
static __always_inline void name_flow(struct bpf_sock_tuple *flow,
				      const struct segment *segment, int family)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	if (family == AF_INET) {
		flow->ipv4.saddr = segment->ipv4.saddr;
		flow->ipv4.daddr = segment->ipv4.daddr;
		flow->ipv4.sport = segment->tcp.source;
		flow->ipv4.dport = segment->tcp.dest;
	} else {
		__builtin_memcpy(flow->ipv6.saddr, segment->ipv6.saddr,
				 sizeof(flow->ipv6.saddr));
		__builtin_memcpy(flow->ipv6.daddr, segment->ipv6.daddr,
				 sizeof(flow->ipv6.daddr));
		flow->ipv6.sport = segment->tcp.source;
		flow->ipv6.dport = segment->tcp.dest;
	}
}

/* The helpers tell the family by the size. */
static __always_inline __u32 name_size(int family)
{
	const struct bpf_sock_tuple *flow;

	return family == AF_INET ? sizeof(flow->ipv4) : sizeof(flow->ipv6);
}

#endif
