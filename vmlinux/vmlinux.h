/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kernel's types that the BPF programs use, written down by hand.
 *
 * Two parts. The first is user-visible ABI (include/uapi of the kernel): its
 * layout never changes and is the same on every architecture, so it is used
 * as it stands and needs no BTF on the host. The second is internal to the
 * kernel: only the fields read are named, and libbpf finds their offsets in
 * the running kernel's BTF (preserve_access_index).
 */
#ifndef VMLINUX_H
#define VMLINUX_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

#define bool _Bool
#define true 1
#define false 0
#define NULL ((void *)0)

/* Part one: user-visible ABI. */

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_SOCKMAP = 15,
	BPF_MAP_TYPE_RINGBUF = 27,
};

/* Flags of maps and helpers; enumerators would be too wide for some. */
#define BPF_ANY		      0
#define BPF_NOEXIST	      1
#define BPF_F_NO_PREALLOC     1
#define BPF_HDR_START_NET     1
#define BPF_F_CURRENT_NETNS   (-1)
#define BPF_RB_FORCE_WAKEUP   2
#define BPF_RB_AVAIL_DATA     0

enum {
	BPF_FIB_LKUP_RET_SUCCESS = 0,
	BPF_FIB_LKUP_RET_NOT_FWDED = 4,
	BPF_FIB_LKUP_RET_FWD_DISABLED = 5,
};

enum {
	BPF_TCP_ESTABLISHED = 1,
	BPF_TCP_LISTEN = 10,
	BPF_TCP_NEW_SYN_RECV = 12,
};

/* Drops the packet, and ends the chain (include/uapi/linux/pkt_cls.h). */
#define TC_ACT_SHOT 2

enum tcx_action_base {
	/* The same value as TC_ACT_UNSPEC: "no opinion, ask the next one". */
	TCX_NEXT = -1,
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	/* Pointers to the linear part of the packet, as the verifier sees. */
	__u32 data;
	__u32 data_end;
};

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port;
	__be16 dst_port;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr;
			__be32 daddr;
			__be16 sport;
			__be16 dport;
		} ipv4;
		struct {
			__be32 saddr[4];
			__be32 daddr[4];
			__be16 sport;
			__be16 dport;
		} ipv6;
	};
};

struct bpf_fib_lookup {
	__u8 family;
	__u8 l4_protocol;
	__be16 sport;
	__be16 dport;
	__u16 tot_len;
	__u32 ifindex;
	union {
		__u8 tos;
		__be32 flowinfo;
		__u32 rt_metric;
	};
	union {
		__be32 ipv4_src;
		__u32 ipv6_src[4];
	};
	union {
		__be32 ipv4_dst;
		__u32 ipv6_dst[4];
	};
	__be16 h_vlan_proto;
	__be16 h_vlan_TCI;
	__u8 smac[6];
	__u8 dmac[6];
};

struct ethhdr {
	__u8 dest[6];
	__u8 source[6];
	__be16 proto;
};

struct iphdr {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u8 ihl : 4, version : 4;
#else
	__u8 version : 4, ihl : 4;
#endif
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 saddr;
	__be32 daddr;
};

struct ipv6hdr {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 saddr[4];
	__be32 daddr[4];
};

/* The first four bytes that the IPv6 extension headers have in common; the
 * last two only in a routing header (RFC 8200, 4.4). */
struct ipv6_extension {
	__u8 nexthdr;
	/* In units of 8 bytes, the first 8 not counted. */
	__u8 hdrlen;
	__u8 routing_type;
	__u8 segments_left;
};

struct tcphdr {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack_seq;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u16 res1 : 4, doff : 4, fin : 1, syn : 1, rst : 1, psh : 1, ack : 1,
		urg : 1, ece : 1, cwr : 1;
#else
	__u16 doff : 4, res1 : 4, cwr : 1, ece : 1, urg : 1, ack : 1, psh : 1,
		rst : 1, syn : 1, fin : 1;
#endif
	__be16 window;
	__u16 check;
	__be16 urg_ptr;
};

/* Part two: the kernel's own. */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

/* How tcp_sock and inet_request_sock have agreed with the other end. */
struct tcp_options_received {
	__u16 tstamp_ok : 1;
	__u16 wscale_ok : 1;
	__u16 sack_ok : 3;
	__u16 snd_wscale : 4;
	__u16 rcv_wscale : 4;
	__u16 mss_clamp;
};

struct tcp_sock {
	struct tcp_options_received rx_opt;
	__u64 bytes_received;
	__u32 rcv_nxt;
	__u32 rcv_wup;
	__u32 rcv_wnd;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 tsoffset;
	/* Not everywhere: 5.6 with CONFIG_MPTCP; 6.7. */
	bool is_mptcp;
	__u8 tcp_usec_ts : 1;
};

struct sock_common {
	__u32 skc_rcv_wnd;
};

struct request_sock {
	struct sock_common __req_common;
	__u16 mss;
};

struct inet_request_sock {
	struct request_sock req;
	__u16 snd_wscale : 4;
	__u16 rcv_wscale : 4;
	__u16 tstamp_ok : 1;
	__u16 sack_ok : 1;
	__u16 wscale_ok : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u32 rcv_isn;
	__u32 snt_isn;
	__u32 ts_off;
	/* As in tcp_sock. */
	bool is_mptcp;
	bool req_usec_ts;
};

#pragma clang attribute pop

#endif
