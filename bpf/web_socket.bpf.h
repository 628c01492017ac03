/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The web server's socket of a connection: its numbers, if it stands exactly
 * where the packet says.
 *
 * Read by direct loads through BTF pointers: bpf_probe_read_kernel() is
 * forbidden where the kernel is locked down.
 */
#ifndef WEB_SOCKET_BPF_H
#define WEB_SOCKET_BPF_H

#include <bpf/bpf_core_read.h>

#include "bpf/first_flight.bpf.h"

#define NS_PER_MS	 1000000
#define TCP_OPTIONS_MOST 40

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HANDOFF_TRANSLATIONS);
	__type(key, __u32);
	__type(value, struct handoff_translation);
} translations SEC(".maps");

static __always_inline __u32 milliseconds(void)
{
	return (__u32)(bpf_ktime_get_ns() / NS_PER_MS);
}

/*
 * The socket has received nothing but a part of this first flight, ends before
 * this segment does, without a gap to it, and has sent nothing.
 */
static __always_inline bool stands_here(const struct tcp_sock *tcp,
					const struct look *look,
					const struct handoff_event *event)
{
	const __u32 received = tcp->rcv_nxt - event->sequence;

	return tcp->snd_nxt == event->send_next &&
	       tcp->write_seq == event->send_next &&
	       tcp->bytes_received == received &&
	       received >= look->sequence - event->sequence &&
	       received < event->length;
}

/* Is there room in the window for the RST, with all that is in the segment?
 * From 6.17 on it is not heeded otherwise. */
static __always_inline bool may_reset(const struct tcp_sock *tcp,
				      const struct look *look)
{
	const __u32 room = tcp->rcv_wup + tcp->rcv_wnd - tcp->rcv_nxt;

	return (__s32)room >= (__s32)(look->length + TCP_OPTIONS_MOST);
}

static __always_inline enum handoff_verdict
read_established(struct bpf_sock *sk, const struct look *look,
		 struct handoff_event *event)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp || !stands_here(tcp, look, event) || !may_reset(tcp, look))
		return HANDOFF_UNFIT_SOCKET;
	if (bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp)
		return HANDOFF_UNFIT_SOCKET;
	if (bpf_core_field_exists(tcp->tcp_usec_ts) &&
	    BPF_CORE_READ_BITFIELD(tcp, tcp_usec_ts))
		return HANDOFF_UNFIT_SOCKET;
	event->timestamps = BPF_CORE_READ_BITFIELD(tcp, rx_opt.tstamp_ok);
	event->selective_acks = BPF_CORE_READ_BITFIELD(tcp, rx_opt.sack_ok);
	event->window_scaling = BPF_CORE_READ_BITFIELD(tcp, rx_opt.wscale_ok);
	event->send_window_scale =
		BPF_CORE_READ_BITFIELD(tcp, rx_opt.snd_wscale);
	event->receive_window_scale =
		BPF_CORE_READ_BITFIELD(tcp, rx_opt.rcv_wscale);
	event->segment_size = tcp->rx_opt.mss_clamp;
	event->receive_window = tcp->rcv_wnd;
	event->receive_window_at = tcp->rcv_wup;
	event->receive_next = tcp->rcv_nxt;
	event->timestamp = milliseconds() + tcp->tsoffset;
	return HANDOFF_TAKEN;
}

/* Its third segment is this one, or has not been seen (TCP_DEFER_ACCEPT). */
static __always_inline enum handoff_verdict
read_request(struct bpf_sock *sk, const struct look *look,
	     struct handoff_event *event)
{
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(sk);

	if (!request || look->sequence != request->rcv_isn + 1 ||
	    event->sequence != look->sequence ||
	    event->send_next != request->snt_isn + 1)
		return HANDOFF_UNFIT_SOCKET;
	if (bpf_core_field_exists(request->is_mptcp) && request->is_mptcp)
		return HANDOFF_UNFIT_SOCKET;
	if (bpf_core_field_exists(request->req_usec_ts) && request->req_usec_ts)
		return HANDOFF_UNFIT_SOCKET;
	event->timestamps = BPF_CORE_READ_BITFIELD(request, req.tstamp_ok);
	event->selective_acks = BPF_CORE_READ_BITFIELD(request, req.sack_ok);
	event->window_scaling = BPF_CORE_READ_BITFIELD(request, req.wscale_ok);
	event->send_window_scale =
		BPF_CORE_READ_BITFIELD(request, req.snd_wscale);
	event->receive_window_scale =
		BPF_CORE_READ_BITFIELD(request, req.rcv_wscale);
	event->segment_size = request->req.req.mss;
	event->receive_window = request->req.req.__req_common.skc_rcv_wnd;
	event->receive_window_at = look->sequence;
	event->receive_next = look->sequence;
	event->timestamp = milliseconds() + request->ts_off;
	return HANDOFF_TAKEN;
}

static __always_inline void name_socket(struct bpf_sock_tuple *name,
					const struct handoff_flow *flow,
					const struct handoff_event *event,
					bool ipv4)
{
	__builtin_memset(name, 0, sizeof(*name));
	if (ipv4) {
		name->ipv4.saddr = flow->client.words[3];
		name->ipv4.daddr = event->server.words[3];
		name->ipv4.sport = flow->client_port;
		name->ipv4.dport = event->server_port;
		return;
	}
	__builtin_memcpy(name->ipv6.saddr, flow->client.words,
			 sizeof(name->ipv6.saddr));
	__builtin_memcpy(name->ipv6.daddr, event->server.words,
			 sizeof(name->ipv6.daddr));
	name->ipv6.sport = flow->client_port;
	name->ipv6.dport = event->server_port;
}

/* The socket that the event at hand names. */
__noinline int read_named_socket(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	struct handoff_event *event;
	enum handoff_verdict verdict;
	struct bpf_sock_tuple name;
	struct bpf_sock *sk;

	if (!at_hand)
		return HANDOFF_UNFIT_SOCKET;
	event = &at_hand->flight.event;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		name_socket(&name, &at_hand->look.flow, event, true);
		sk = bpf_skc_lookup_tcp(skb, &name, sizeof(name.ipv4),
					BPF_F_CURRENT_NETNS, 0);
	} else {
		name_socket(&name, &at_hand->look.flow, event, false);
		sk = bpf_skc_lookup_tcp(skb, &name, sizeof(name.ipv6),
					BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return HANDOFF_NO_SOCKET;
	event->bound_ifindex = sk->bound_dev_if;
	/* The listener alone says nothing of the connection. */
	if (sk->state == BPF_TCP_LISTEN)
		verdict = HANDOFF_NO_SOCKET;
	else if (sk->state == BPF_TCP_ESTABLISHED)
		verdict = read_established(sk, &at_hand->look, event);
	else if (sk->state == BPF_TCP_NEW_SYN_RECV)
		verdict = read_request(sk, &at_hand->look, event);
	else
		verdict = HANDOFF_UNFIT_SOCKET;
	bpf_sk_release(sk);
	return (int)verdict;
}

static __always_inline bool is_any(const struct host_address *address)
{
	return !(address->words[0] | address->words[1] | address->words[2] |
		 address->words[3]);
}

/* HANDOFF_TAKEN: it can be made again by what is in the event at hand now. */
__noinline int read_socket(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	const struct handoff_translation *translation;
	const struct handoff_flow *flow;
	struct handoff_event *event;
	int verdict, here;

	if (!at_hand)
		return HANDOFF_UNFIT_SOCKET;
	flow = &at_hand->look.flow;
	event = &at_hand->flight.event;
	event->server = flow->server;
	event->server_port = flow->server_port;
	verdict = read_named_socket(skb);
	for (__u32 i = 0; i < HANDOFF_TRANSLATIONS; i++) {
		__u32 key = i;

		if (verdict == HANDOFF_TAKEN)
			break;
		translation = bpf_map_lookup_elem(&translations, &key);
		if (!translation || !translation->port)
			break;
		event->server = is_any(&translation->address)
					? flow->server
					: translation->address;
		event->server_port = translation->port;
		here = read_named_socket(skb);
		if (here != HANDOFF_NO_SOCKET)
			verdict = here;
	}
	return verdict;
}

#endif
