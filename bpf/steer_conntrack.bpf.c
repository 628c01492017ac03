// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The steering program that pins flows in conntrack. */
#include "bpf/pin_conntrack.bpf.h"
#include "bpf/steer.bpf.h"

/* Always lets the chain of programs go on: others live there too. */
SEC("tc")
int acme_alpn_steer(struct __sk_buff *skb)
{
	steer_packet(skb);
	return TCX_NEXT;
}

const char program_license[] SEC("license") = "Dual MIT/GPL";
