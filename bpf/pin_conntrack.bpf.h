/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Keep NAT from redirecting a flow that is about to be steered.
 *
 * The flow gets a conntrack entry of ours first: the kernel never applies NAT
 * to an entry that is confirmed already, so the packet stays here. At the
 * flow's next SYN the entry also tells whether the first one was answered.
 * Needs kfuncs (kernel 6.0) and the right to use them (CAP_SYS_ADMIN).
 *
 * A container's packets are forwarded, so that the INPUT rules in front of it
 * may well drop the port, and with it what is steered. Where the user wants it
 * (past_firewall) the entry pretends to have seen a reply: to the rules, the
 * flow is one of the established ones that such a firewall accepts.
 */
#ifndef PIN_CONNTRACK_BPF_H
#define PIN_CONNTRACK_BPF_H

#include "bpf/steer.bpf.h"

#define TCP_CONNTRACK_SYN_SENT	1
#define TCP_CONNTRACK_TIME_WAIT 7
#define IPS_SEEN_REPLY		(1 << 1)
#define IPS_DST_NAT		(1 << 5)
/*
 * Until conntrack sees the SYN itself, in the same run of the network stack,
 * and applies its own timeouts. Where it does not look at all, the entries of
 * a flood stay for this long: they must not fill the table.
 */
#define PIN_TIMEOUT_MS 100

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb,
					 struct bpf_sock_tuple *tuple,
					 __u32 tuple_size,
					 struct bpf_ct_opts *opts,
					 __u32 opts_size) __ksym;
extern struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *skb,
					       struct bpf_sock_tuple *tuple,
					       __u32 tuple_size,
					       struct bpf_ct_opts *opts,
					       __u32 opts_size) __ksym;
extern void bpf_ct_set_timeout(struct nf_conn___init *entry,
			       __u32 timeout_ms) __ksym;
extern int bpf_ct_set_status(const struct nf_conn___init *entry,
			     __u32 status) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *entry) __ksym;
extern int bpf_ct_change_timeout(struct nf_conn *entry,
				 __u32 timeout_ms) __ksym;
extern void bpf_ct_release(struct nf_conn *entry) __ksym;
/* From 6.2 on. */
extern void *bpf_cast_to_kern_ctx(void *skb) __ksym __weak;

/* The rest of _nfct points to the entry. */
#define NFCT_INFO_MASK 7UL

/*
 * Has conntrack seen this very packet? So it is behind the port of a bridge
 * where br_netfilter hands packets to it, as Docker wants it. Then NAT has had
 * its say, and the packet brings an entry along, which would have to give way
 * to one of ours: the packet would be dropped.
 */
static __always_inline bool is_tracked(struct __sk_buff *skb)
{
	const struct sk_buff *packet;
	unsigned long entry = 0;

	if (bpf_cast_to_kern_ctx) {
		packet = bpf_cast_to_kern_ctx(skb);
		entry = packet->_nfct;
	} else {
		packet = (const void *)skb;
		bpf_probe_read_kernel(&entry, sizeof(entry), &packet->_nfct);
	}
	return entry & ~NFCT_INFO_MASK;
}

enum entry_kind {
	ENTRY_NONE,
	/* Alive and without NAT, so it serves as well as one of ours. */
	ENTRY_PLAIN,
	ENTRY_NAT,
	/* Of a flow that has ended. It has expired now: the SYN would replace
	 * it by a new one, which is open to NAT. */
	ENTRY_ENDED,
	/*
	 * Its SYN went through conntrack and nothing came back, not even a
	 * cookie, which would come in the same instant: dropped by the INPUT
	 * rules, say. It has expired now, so that this SYN is judged anew.
	 */
	ENTRY_UNANSWERED,
};

static __always_inline enum entry_kind find_entry(struct __sk_buff *skb,
						  struct bpf_sock_tuple *flow,
						  __u32 size,
						  struct bpf_ct_opts *opts)
{
	enum entry_kind kind = ENTRY_PLAIN;
	struct nf_conn *entry;

	entry = bpf_skb_ct_lookup(skb, flow, size, opts, sizeof(*opts));
	if (!entry)
		return ENTRY_NONE;
	if (entry->proto.tcp.state >= TCP_CONNTRACK_TIME_WAIT)
		kind = ENTRY_ENDED;
	else if (entry->status & IPS_DST_NAT)
		kind = ENTRY_NAT;
	else if (entry->proto.tcp.state == TCP_CONNTRACK_SYN_SENT)
		kind = ENTRY_UNANSWERED;
	if (kind == ENTRY_ENDED || kind == ENTRY_UNANSWERED)
		bpf_ct_change_timeout(entry, 0);
	bpf_ct_release(entry);
	return kind;
}

static __always_inline bool insert_entry(struct __sk_buff *skb,
					 struct bpf_sock_tuple *flow,
					 __u32 size, struct bpf_ct_opts *opts)
{
	struct nf_conn___init *fresh;
	struct nf_conn *entry;

	fresh = bpf_skb_ct_alloc(skb, flow, size, opts, sizeof(*opts));
	if (!fresh)
		return false;
	bpf_ct_set_timeout(fresh, PIN_TIMEOUT_MS);
	if (config.past_firewall)
		bpf_ct_set_status(fresh, IPS_SEEN_REPLY);
	entry = bpf_ct_insert_entry(fresh);
	if (!entry)
		return false;
	bpf_ct_release(entry);
	return true;
}

static __always_inline enum steer_verdict pin_flow(struct __sk_buff *skb,
						   struct bpf_sock_tuple *flow,
						   __u32 size, __be32 sequence,
						   __u64 now)
{
	struct bpf_ct_opts opts = {
		.netns_id = BPF_F_CURRENT_NETNS,
		.l4proto = IPPROTO_TCP,
	};
	enum entry_kind kind;

	if (is_tracked(skb))
		return STEER_STEERED;
	kind = find_entry(skb, flow, size, &opts);
	/* The second look takes the expired entry out of the table. */
	if (kind == ENTRY_ENDED)
		kind = find_entry(skb, flow, size, &opts);
	if (kind == ENTRY_NAT)
		return STEER_CONTAINER_FLOW;
	if (kind == ENTRY_UNANSWERED)
		return STEER_UNANSWERED;
	/* Not pinned, it must not be steered: with a published port NAT would
	 * take each SYN of the flow to where it is dropped. */
	if (kind == ENTRY_ENDED ||
	    (kind == ENTRY_NONE && !insert_entry(skb, flow, size, &opts)))
		return STEER_REFUSED;
	return STEER_STEERED;
}

#endif
