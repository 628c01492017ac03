/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs and their loader share. Needs the __uN types: from
 * vmlinux.h in the kernel's half, from <linux/types.h> in ours.
 */
#ifndef BPF_SHARED_H
#define BPF_SHARED_H

/* Fixed when a program is loaded. */
struct program_config {
	/* Added to bpf_ktime_get_ns() it is the processes' CLOCK_MONOTONIC,
	 * which a time namespace may have set. */
	__s64 clock_offset_ns;
	/* Network byte order. */
	__u16 service_port;
	/* Not 0: with the conntrack pin, past INPUT rules that do not accept
	 * the port (see bpf/pin_conntrack.bpf.h). */
	__u16 past_firewall;
	/* Not 0: the kernel has bpf_ktime_get_coarse_ns() (5.11). */
	__u32 coarse_clock;
};

/* Written by the supervisor alone. */
struct program_switch {
	/* Steer SYNs. */
	__u32 enabled;
	/*
	 * Devices of other network namespaces may share a device of ours and
	 * its link address (ipvlan, macvlan in passthru mode). Then a packet
	 * that is not routed on is ours only if its destination is listed.
	 */
	__u32 shared_devices;
	/*
	 * Policy rules look at marks, which packets get behind this program.
	 * Then one that no route is found for may still be routed on, and it
	 * is ours only if its destination is listed.
	 */
	__u32 marked_rules;
};

/* An address, IPv4 as ::ffff:a.b.c.d. Network byte order. */
struct host_address {
	__u32 words[4];
};

#define HOST_ADDRESS_BITS 128

/* All addresses that begin with so many bits of this one. */
struct host_prefix {
	__u32 length;
	struct host_address address;
};

#define HOST_DESTINATIONS 16384

/* The program's own: the destination that it last found to be this host, and
 * until when it need not ask again. */
struct host_memory {
	struct host_address destination;
	__u64 until_ns;
};

/* Keys of the listeners' map. */
enum steer_listener {
	STEER_LISTENER_IPV4,
	STEER_LISTENER_IPV6,
	STEER_LISTENERS,
};

/* What became of a packet that could have begun a flow to the service. */
enum steer_verdict {
	/* A SYN given to a listener. */
	STEER_STEERED,
	/* An ACK given to a listener, because it completes a SYN cookie. */
	STEER_COOKIE,
	/* Passed: to be routed on, to a container's network for instance. */
	STEER_NOT_LOCAL,
	/* Passed: switched off, the lease has run out, or no listener. */
	STEER_NOT_STEERING,
	/* Passed: the flow exists already, in whatever state. */
	STEER_EXISTING_FLOW,
	/* Passed: conntrack sends this flow to a container (DNAT). */
	STEER_CONTAINER_FLOW,
	/* Passed: its first SYN was steered and never answered. */
	STEER_UNANSWERED,
	/* Passed: the kernel refused to assign it, or to pin it. */
	STEER_REFUSED,
	STEER_VERDICTS,
};

/* Of one interface on one CPU. */
struct steer_interface {
	__u64 packets[STEER_VERDICTS];
	struct host_memory known;
};

/* Interfaces that can be counted; the others are served uncounted. */
#define COUNTED_INTERFACES 4096

#endif
