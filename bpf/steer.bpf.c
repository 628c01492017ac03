// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Steer new flows to the service port onto our listener.
 *
 * Runs at TC ingress. It rewrites nothing: bpf_sk_assign() hands the first
 * packet of a flow to a listening socket, the kernel answers from there, and
 * the accepted socket keeps the packet's own addresses. Later packets find
 * that socket by themselves, so that this program can go at any time without
 * harm to the flows it has steered. Everything that is not clearly a new flow
 * to this very host is left alone, and so is everything while something is
 * missing (no listener, no lease): the web server then answers as if nothing
 * were here.
 *
 * Two packets can begin a flow:
 *  - a SYN;
 *  - the ACK that completes a SYN cookie, when the listener sent one: then
 *    the kernel has kept nothing of the SYN, and only the listener that made
 *    the cookie can tell.
 *
 * Why not an sk_lookup program, of which a namespace needs one for all its
 * interfaces: it is not told TCP's flags. It would take the ACK of a cookie
 * that the web server has sent, and leave alone that of ours once steering is
 * paused, so that visitors in mid-handshake are reset. It cannot tell the
 * host's own connections to its outer addresses from others, takes flows away
 * from other such programs, and comes too late for DNAT all the same.
 *
 * Built twice: with STEER_CONNTRACK it also pins flows in conntrack, which
 * needs kfuncs (kernel 6.0) and the right to use them (CAP_SYS_ADMIN).
 *
 * Headers are counted from the network header, which only a helper knows: the
 * same program serves Ethernet, VLANs and devices without a link layer (tun,
 * wireguard). But a helper's call is what costs here, and most packets are none
 * of ours: so where an Ethernet header cannot be mistaken, the packet itself is
 * read first.
 */
#include "vmlinux/vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

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

#define TCP_OPTION_END	 0
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_MPTCP 30
#define MPTCP_JOIN	 1 /* subtype MP_JOIN */

/* In words of four bytes, the longest TCP header of a SYN without MPTCP: with
 * all of segment size, SACK, timestamps and window scale. */
#define LONGEST_PLAIN_HEADER 10
/* Options looked at, padding too: MPTCP has been seen as the eighth. */
#define TCP_MAX_OPTIONS 16
/* Extension headers looked behind: more than one of each kind is unheard of. */
#define IPV6_MAX_EXTENSIONS 6
/* Link, network and TCP headers, with room for options. */
#define LONGEST_HEADERS 192
/* An address that has been found to be this host's is believed to be, for some
 * ticks of the clock. */
#define KNOWN_FOR_NS 20000000ull

/* Set by the loader before the program is loaded, fixed from then on. */
const volatile struct steer_config steer_config SEC(".rodata.config");

/* Two switches, one writer each: this one is the supervisor's. */
volatile struct steer_switch steer_switch SEC(".data.supervisor");

/*
 * And this one the unprivileged worker's, who has this page mapped and nothing
 * else: SYNs are steered only until then (CLOCK_MONOTONIC). A worker that
 * is dead, stopped or hung opens the port by itself.
 */
volatile __u64 steer_lease_until;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, STEER_LISTENERS);
	__type(key, __u32);
	/* 64 bits, so that the loader can read the sockets' cookies back. */
	__type(value, __u64);
} steer_listeners SEC(".maps");

/* By ifindex; the loader adds an entry for each interface it attaches to. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, STEER_COUNTED_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct steer_interface);
} steer_interfaces SEC(".maps");

/* This host's destinations, each with the round of the loader's in which it was
 * last seen; read only where the kernel does not tell for certain. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, STEER_DESTINATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct steer_prefix);
	__type(value, __u32);
} steer_destinations SEC(".maps");

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
};

static __always_inline struct steer_interface *
find_interface(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;

	return bpf_map_lookup_elem(&steer_interfaces, &ifindex);
}

static __always_inline void count(struct steer_interface *interface,
				  enum steer_verdict verdict)
{
	if (interface)
		interface->counters.packets[verdict]++;
}

/* CLOCK_MONOTONIC; to the tick will do. */
static __always_inline __u64 clock_ns(void)
{
	__u64 now = steer_config.coarse_clock ? bpf_ktime_get_coarse_ns()
					      : bpf_ktime_get_ns();

	return now + (__u64)steer_config.clock_offset_ns;
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
	return tcp->dest == steer_config.service_port;
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
	if (ip->ihl != sizeof(*ip) / 4 &&
	    !load(skb, ip->ihl * 4, &segment->tcp, sizeof(segment->tcp)))
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
		if (next == IPPROTO_TCP)
			return load(skb, offset, &segment->tcp,
				    sizeof(segment->tcp));
	}
	return false;
}

static __always_inline bool load_ipv6(struct __sk_buff *skb,
				      struct segment *segment)
{
	struct ipv6hdr *ip = &segment->ipv6;

	if (!load(skb, 0, ip, sizeof(*ip) + sizeof(segment->tcp)))
		return false;
	if (ip->nexthdr != IPPROTO_TCP && !load_behind_extensions(skb, segment))
		return false;
	return is_for_service(&segment->tcp);
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

static __always_inline struct steer_address
destination(const struct segment *segment, int family)
{
	struct steer_address address = {};

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
	struct steer_prefix prefix = {
		.length = STEER_ADDRESS_BITS,
		.address = destination(segment, family),
	};

	return bpf_map_lookup_elem(&steer_destinations, &prefix);
}

/*
 * Is this very host where the packet ends, or would it be routed on? Without
 * the question, the outbound https of containers behind this host would be
 * ours.
 *
 * Where forwarding is off the kernel does not tell. Nothing is routed on then,
 * but for devices that share ours. And what it has no route for by the packet's
 * mark of this moment, it does not tell from what is ours. So ask the list,
 * where such things are (steer_switch).
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
		sure = !steer_switch.shared_devices;
		break;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		sure = !steer_switch.marked_rules;
		break;
	default:
		return false;
	}
	return sure || is_listed(segment, family);
}

/*
 * The same, asked once for many SYNs: what the route says costs a third of all.
 * In the flood where that counts they come to one address. One that is taken
 * from the host meanwhile takes a SYN along, at worst, and that is sent again.
 */
static __always_inline bool
known_to_end_here(struct __sk_buff *skb, const struct segment *segment,
		  int family, struct steer_interface *interface, __u64 now)
{
	const struct steer_address address = destination(segment, family);

	if (!interface)
		return ends_here(skb, segment, family);
	if (now < interface->here_until_ns &&
	    interface->here.words[3] == address.words[3] &&
	    interface->here.words[2] == address.words[2] &&
	    interface->here.words[1] == address.words[1] &&
	    interface->here.words[0] == address.words[0])
		return true;
	if (!ends_here(skb, segment, family))
		return false;
	interface->here = address;
	interface->here_until_ns = now + KNOWN_FOR_NS;
	return true;
}

/*
 * A duplicate SYN, or one that meets TIME_WAIT: the kernel knows what to do
 * with it, whereas a second socket of the same name would be refused and the
 * SYN lost.
 */
static __always_inline bool flow_exists(struct __sk_buff *skb,
					struct bpf_sock_tuple *flow, int family)
{
	struct bpf_sock *sk;
	__u32 state;

	sk = bpf_skc_lookup_tcp(skb, flow, name_size(family),
				BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	state = sk->state;
	bpf_sk_release(sk);
	return state != BPF_TCP_LISTEN;
}

/*
 * Another path of an MPTCP connection (MP_JOIN, RFC 8684, 3.2): one that began
 * with the web server, because the proxy's listener speaks plain TCP, to which
 * clients then keep. Only the web server's socket knows it. Behind IPv6
 * extension headers it is not looked for.
 */
static __always_inline bool
joins_flow(struct __sk_buff *skb, const struct segment *segment, int family)
{
	const __u32 ip_size = family == AF_INET ? segment->ipv4.ihl * 4
						: sizeof(segment->ipv6);
	const __u32 end = ip_size + segment->tcp.doff * 4;
	__u32 offset = ip_size + sizeof(segment->tcp);
	struct {
		__u8 kind;
		__u8 length;
		__u8 subtype;
	} option;

	if (segment->tcp.doff <= LONGEST_PLAIN_HEADER ||
	    (family == AF_INET6 && segment->ipv6.nexthdr != IPPROTO_TCP))
		return false;
	for (int i = 0; i < TCP_MAX_OPTIONS; i++) {
		if (offset + sizeof(option) > end ||
		    !load(skb, offset, &option, sizeof(option)) ||
		    option.kind == TCP_OPTION_END)
			return false;
		if (option.kind == TCP_OPTION_MPTCP)
			return option.subtype >> 4 == MPTCP_JOIN;
		offset += option.kind == TCP_OPTION_NOP ? 1 : option.length;
	}
	return false;
}

#include "pin.bpf.h"

static __always_inline struct bpf_sock *find_listener(int family)
{
	__u32 key = family == AF_INET ? STEER_LISTENER_IPV4
				      : STEER_LISTENER_IPV6;

	return bpf_map_lookup_elem(&steer_listeners, &key);
}

static __always_inline enum steer_verdict
steer_syn_to(struct bpf_sock *listener, struct __sk_buff *skb,
	     const struct segment *segment, int family, __u64 now)
{
	struct bpf_sock_tuple flow;
	enum steer_verdict verdict;

	if (joins_flow(skb, segment, family))
		return STEER_EXISTING_FLOW;
	name_flow(&flow, segment, family);
	if (flow_exists(skb, &flow, family))
		return STEER_EXISTING_FLOW;
	verdict =
		pin_flow(skb, &flow, name_size(family), segment->tcp.seq, now);
	if (verdict == STEER_STEERED && bpf_sk_assign(skb, listener, 0))
		return STEER_REFUSED;
	return verdict;
}

static __always_inline enum steer_verdict
steer_syn(struct __sk_buff *skb, const struct segment *segment, int family,
	  struct steer_interface *interface)
{
	enum steer_verdict verdict;
	struct bpf_sock *listener;
	__u64 now;

	if (!steer_switch.enabled)
		return STEER_NOT_STEERING;
	now = clock_ns();
	if (now >= steer_lease_until)
		return STEER_NOT_STEERING;
	if (!known_to_end_here(skb, segment, family, interface, now))
		return STEER_NOT_LOCAL;
	listener = find_listener(family);
	if (!listener)
		return STEER_NOT_STEERING;
	verdict = steer_syn_to(listener, skb, segment, family, now);
	bpf_sk_release(listener);
	return verdict;
}

/*
 * Every packet of the service's established flows comes by here, so the
 * cheapest question is first: the listener knows at once if it has sent no
 * cookie of late. Goes on while steering is paused: the SYN was steered
 * before.
 */
static __always_inline void steer_cookie(struct __sk_buff *skb,
					 struct segment *segment, int family)
{
	const bool v4 = family == AF_INET;
	struct bpf_sock_tuple flow;
	struct bpf_sock *listener;
	long not_ours;

	listener = find_listener(family);
	if (!listener)
		return;
	not_ours = bpf_tcp_check_syncookie(
		listener, v4 ? (void *)&segment->ipv4 : (void *)&segment->ipv6,
		v4 ? sizeof(segment->ipv4) : sizeof(segment->ipv6),
		&segment->tcp, sizeof(segment->tcp));
	if (!not_ours) {
		name_flow(&flow, segment, family);
		if (!flow_exists(skb, &flow, family) &&
		    ends_here(skb, segment, family) &&
		    !bpf_sk_assign(skb, listener, 0))
			count(find_interface(skb), STEER_COOKIE);
	}
	bpf_sk_release(listener);
}

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

static __always_inline void steer_segment(struct __sk_buff *skb,
					  struct segment *segment, int family)
{
	const struct tcphdr *tcp = &segment->tcp;
	struct steer_interface *interface;

	if (tcp->rst)
		return;
	if (tcp->syn && !tcp->ack && !tcp->fin) {
		interface = find_interface(skb);
		count(interface, steer_syn(skb, segment, family, interface));
	} else if (tcp->ack && !tcp->syn) {
		steer_cookie(skb, segment, family);
	}
}

static __always_inline void steer_ipv4(struct __sk_buff *skb)
{
	struct segment segment;
	enum glance glance = glance_ipv4(skb, &segment);

	if (glance == GLANCE_SERVICE ||
	    (glance == GLANCE_UNCLEAR && load_ipv4(skb, &segment)))
		steer_segment(skb, &segment, AF_INET);
}

static __always_inline void steer_ipv6(struct __sk_buff *skb)
{
	struct segment segment;
	enum glance glance = glance_ipv6(skb, &segment);

	if (glance == GLANCE_SERVICE ||
	    (glance == GLANCE_UNCLEAR && load_ipv6(skb, &segment)))
		steer_segment(skb, &segment, AF_INET6);
}

/* Always lets the chain of programs go on: others live there too. */
SEC("tc")
int acme_alpn_steer(struct __sk_buff *skb)
{
	if (!is_ours(skb))
		return TCX_NEXT;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		steer_ipv4(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		steer_ipv6(skb);
	return TCX_NEXT;
}

const char steer_license[] SEC("license") = "Dual MIT/GPL";
