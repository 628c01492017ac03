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
	/* The packet begins with an Ethernet header, and has its headers in its
	 * linear part. */
	bool ethernet;
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

static __always_inline void *ip_header(struct segment *segment, int family)
{
	return family == AF_INET ? (void *)&segment->ipv4
				 : (void *)&segment->ipv6;
}

static __always_inline __u32 ip_header_size(int family)
{
	return family == AF_INET ? sizeof(struct iphdr)
				 : sizeof(struct ipv6hdr);
}

static __always_inline bool is_for_service(const struct tcphdr *tcp)
{
	return tcp->dest == program_switch.service_port;
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

static __always_inline enum glance glance(const struct __sk_buff *skb,
					  struct segment *segment, int family)
{
	const struct ethhdr *ethernet = (void *)(long)skb->data;
	const void *ip = ethernet + 1;
	const struct tcphdr *tcp = ip + ip_header_size(family);
	const struct iphdr *ipv4 = ip;
	const struct ipv6hdr *ipv6 = ip;
	__u8 protocol;

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end ||
	    !is_ethernet(skb, ethernet))
		return GLANCE_UNCLEAR;
	if (family == AF_INET
		    ? ipv4->version != 4 || ipv4->ihl != sizeof(*ipv4) / 4
		    : *(__u8 *)ipv6 >> 4 != 6)
		return GLANCE_UNCLEAR;
	protocol = family == AF_INET ? ipv4->protocol : ipv6->nexthdr;
	/* Extension headers; and on older kernels what leaves a tunnel (ipip)
	 * still has the outer headers in front, which are not its own. */
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return GLANCE_UNCLEAR;
	if (protocol != IPPROTO_TCP || !is_for_service(tcp) ||
	    (family == AF_INET && ipv4->frag_off & bpf_htons(IP_FRAGMENT)))
		return GLANCE_OTHER;
	if (family == AF_INET)
		segment->ipv4 = *ipv4;
	else
		segment->ipv6 = *ipv6;
	segment->tcp = *tcp;
	segment->tcp_offset = ip_header_size(family);
	segment->ethernet = true;
	return GLANCE_SERVICE;
}

/*
 * Find TCP behind extension headers. A fragment header ends the search (only
 * the first fragment has ports), and so does a routing header with segments
 * left: the packet does not end at this host.
 */
static __always_inline bool find_behind_extensions(struct __sk_buff *skb,
						   struct segment *segment)
{
	__u8 next = segment->ipv6.nexthdr;
	struct ipv6_extension extension;

	for (int i = 0; i <= IPV6_MAX_EXTENSIONS; i++) {
		if (next == IPPROTO_TCP)
			return true;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS)
			return false;
		if (!load(skb, segment->tcp_offset, &extension,
			  sizeof(extension)))
			return false;
		if (next == IPPROTO_ROUTING && extension.segments_left)
			return false;
		segment->tcp_offset += (extension.hdrlen + 1) * 8;
		next = extension.nexthdr;
	}
	return false;
}

static __always_inline bool load_headers(struct __sk_buff *skb,
					 struct segment *segment, int family)
{
	const __u32 ip_size = ip_header_size(family);

	if (!load(skb, 0, ip_header(segment, family),
		  ip_size + sizeof(segment->tcp)))
		return false;
	segment->tcp_offset = ip_size;
	segment->ethernet = false;
	if (family == AF_INET) {
		if (segment->ipv4.protocol != IPPROTO_TCP ||
		    segment->ipv4.frag_off & bpf_htons(IP_FRAGMENT))
			return false;
		segment->tcp_offset = segment->ipv4.ihl * 4;
	} else if (!find_behind_extensions(skb, segment)) {
		return false;
	}
	if (segment->tcp_offset != ip_size &&
	    !load(skb, segment->tcp_offset, &segment->tcp,
		  sizeof(segment->tcp)))
		return false;
	return is_for_service(&segment->tcp);
}

/* Load the headers of a packet of @family; true if they are those of a segment
 * to the service port. */
static __always_inline bool find_segment(struct __sk_buff *skb,
					 struct segment *segment, int family)
{
	const enum glance seen = glance(skb, segment, family);

	return seen == GLANCE_SERVICE ||
	       (seen == GLANCE_UNCLEAR && load_headers(skb, segment, family));
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
