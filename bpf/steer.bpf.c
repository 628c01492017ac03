// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Steer new flows to the service port onto our listener.
 *
 * Nothing is rewritten: bpf_sk_assign() hands the first packet of a flow to a
 * listening socket, the kernel answers from there, and the accepted socket
 * keeps the packet's own addresses. Later packets find that socket by
 * themselves, so that the program can go at any time without harm to the flows
 * it has steered. Everything that is not clearly a new flow to this very host
 * is left alone, and so is everything while something is missing (no listener,
 * no lease): the web server then answers as if nothing were here.
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
 * A port published by a container engine is a DNAT rule in PREROUTING, behind
 * TC ingress. It would take the steered SYN along to the container, where the
 * socket on it is of no use: the SYN is dropped. The loader steers no such
 * port; syn_memory.bpf.h is there for a rule that it has not seen yet.
 */
#include "bpf/host.bpf.h"
#include "bpf/syn_memory.bpf.h"

#define TCP_OPTION_END	 0
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_MPTCP 30
#define MPTCP_JOIN	 1  /* subtype MP_JOIN */
#define MPTCP_JOIN_SIZE	 12 /* in a SYN */

/* Options looked at, padding too: MPTCP has been seen as the eighth. */
#define TCP_MAX_OPTIONS 16

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
	__uint(max_entries, COUNTED_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct steer_interface);
} steer_interfaces SEC(".maps");

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
		interface->packets[verdict]++;
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
 * clients then keep. Only the web server's socket knows it.
 */
static __always_inline bool joins_flow(struct __sk_buff *skb,
				       const struct segment *segment)
{
	const __u32 end = segment->tcp_offset + segment->tcp.doff * 4;
	__u32 offset = segment->tcp_offset + sizeof(segment->tcp);
	struct {
		__u8 kind;
		__u8 length;
		__u8 subtype;
	} option;

	for (int i = 0; i < TCP_MAX_OPTIONS; i++) {
		if (offset + MPTCP_JOIN_SIZE > end ||
		    !load(skb, offset, &option, sizeof(option)) ||
		    option.kind == TCP_OPTION_END)
			return false;
		if (option.kind == TCP_OPTION_MPTCP)
			return option.subtype >> 4 == MPTCP_JOIN;
		offset += option.kind == TCP_OPTION_NOP ? 1 : option.length;
	}
	return false;
}

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

	if (joins_flow(skb, segment))
		return STEER_EXISTING_FLOW;
	name_flow(&flow, segment, family);
	if (flow_exists(skb, &flow, family))
		return STEER_EXISTING_FLOW;
	if (was_dropped(&flow, name_size(family), segment->tcp.seq, now))
		return STEER_UNANSWERED;
	return bpf_sk_assign(skb, listener, 0) ? STEER_REFUSED : STEER_STEERED;
}

static __always_inline enum steer_verdict
steer_syn(struct __sk_buff *skb, const struct segment *segment, int family,
	  struct steer_interface *interface)
{
	enum steer_verdict verdict;
	struct bpf_sock *listener;
	__u64 now;

	if (!program_switch.enabled)
		return STEER_NOT_STEERING;
	now = clock_ns();
	if (now >= lease_until)
		return STEER_NOT_STEERING;
	if (!known_to_end_here(skb, segment, family,
			       interface ? &interface->known : NULL, now))
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
	struct bpf_sock_tuple flow;
	struct bpf_sock *listener;
	long not_ours;

	listener = find_listener(family);
	if (!listener)
		return;
	not_ours = bpf_tcp_check_syncookie(listener, ip_header(segment, family),
					   ip_header_size(family),
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

/* Always lets the chain of programs go on: others live there too. */
SEC("tc")
int acme_alpn_steer(struct __sk_buff *skb)
{
	struct segment segment;

	if (!is_ours(skb))
		return TCX_NEXT;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (find_segment(skb, &segment, AF_INET))
			steer_segment(skb, &segment, AF_INET);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (find_segment(skb, &segment, AF_INET6))
			steer_segment(skb, &segment, AF_INET6);
	}
	return TCX_NEXT;
}

static __always_inline __u32 listening_port(struct __sk_buff *skb, int family)
{
	struct bpf_sock_tuple flow;
	struct bpf_sock *sk, *listener;
	__u32 port = 0;

	if (bpf_skb_load_bytes(skb, STEER_NAME_AT, &flow, name_size(family)))
		return 0;
	sk = bpf_skc_lookup_tcp(skb, &flow, name_size(family),
				BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	listener = bpf_get_listener_sock(sk);
	if (listener)
		port = listener->src_port;
	bpf_sk_release(sk);
	return port;
}

/*
 * Never attached: the loader asks by it (BPF_PROG_TEST_RUN) whose a handshake
 * is. The answer is the port of the listener that it came to, or 0 if it is
 * over.
 */
SEC("tc")
int acme_alpn_whose(struct __sk_buff *skb)
{
	return skb->len == STEER_NAME_AT + name_size(AF_INET)
		       ? listening_port(skb, AF_INET)
		       : listening_port(skb, AF_INET6);
}

const char program_license[] SEC("license") = "Dual MIT/GPL";
