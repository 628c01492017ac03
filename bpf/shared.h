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
	/* Not 0: the kernel has bpf_ktime_get_coarse_ns() (5.11). */
	__u64 coarse_clock;
};

/* Written by the supervisor alone. */
struct program_switch {
	/* CLOCK_MONOTONIC: until then the supervisor is there to make sockets
	 * for what is handed off. */
	__u64 supervised_until_ns;
	/* Steer SYNs, or hand off challenges: each program's own. */
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
	/* Hand off the challenges for the names listed, and no others. */
	__u32 only_listed_names;
	/* Network byte order. */
	__u32 service_port;
	/* What would be padding. */
	__u32 unused;
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

/* Handoff: challenges are taken away from the web server's sockets. */

/* Bytes of a first flight that are looked at, a PROXY header included. */
#define HANDOFF_BYTES 8192

/* A connection, by the names in its packets. Network byte order. */
struct handoff_flow {
	struct host_address client;
	struct host_address server;
	__be16 client_port;
	__be16 server_port;
};

enum handoff_event_kind {
	/* The web server's socket is gone: make one of the same name. */
	HANDOFF_TAKE,
	/* More of a connection that is being moved. */
	HANDOFF_MORE,
	/* A challenge for this host, and no socket of it here. */
	HANDOFF_NOBODY,
	/* The web server's socket of a connection that was given up still
	 * stands: the RST did not get there. */
	HANDOFF_STANDS,
};

/* Numbers are in host byte order, but for addresses and ports. Only the first
 * length bytes of the last field are sent. */
struct handoff_event {
	struct handoff_flow flow;
	/* The web server's own name of its end: another one than the packets'
	 * where NAT within this host leads to it. */
	struct host_address server;
	__be16 server_port;
	__u8 kind;
	/* What both ends had agreed on. */
	__u8 timestamps;
	__u8 selective_acks;
	__u8 window_scaling;
	__u8 send_window_scale;
	__u8 receive_window_scale;
	__u32 ifindex;
	/* Of the web server's socket, or 0. */
	__u32 bound_ifindex;
	/* CLOCK_MONOTONIC, when the segment came. */
	__u64 seen_ns;
	/* The sequence number of the first of the bytes, of the segment that
	 * decided, and of our own next byte; the next byte that the web
	 * server's socket waits for. */
	__u32 sequence;
	__u32 last_sequence;
	__u32 send_next;
	__u32 receive_next;
	/* In bytes. */
	__u32 send_window;
	__u32 receive_window;
	__u32 receive_window_at;
	__u32 segment_size;
	/* What our timestamps counted at that moment. */
	__u32 timestamp;
	__u32 length;
	/* The second half is room for the verifier, which adds up the largest
	 * offset and the largest length. */
	__u8 bytes[2 * HANDOFF_BYTES];
};

/* A connection that is being moved, whose segments are kept from the port until
 * then; or one that could not be moved, and is left alone until then. Another
 * connection of the same names has other numbers. CLOCK_MONOTONIC. */
struct handoff_move {
	__u64 until_ns;
	/* Sequence numbers: our next byte, and the client's first one. */
	__u32 send_next;
	__u32 first;
	/* Not 0: HANDOFF_STANDS has been said. */
	__u64 told;
};

#define HANDOFF_MOVES 1024

/* Where NAT within this host may lead the service to; all zeros: the packet's
 * own address. The first one without a port ends the list. */
struct handoff_translation {
	struct host_address address;
	__be16 port;
};

#define HANDOFF_TRANSLATIONS 8

/* A name in lower case, zeros behind it; "*.example.org" for one label more. */
#define HANDOFF_NAME_SIZE 256
#define HANDOFF_NAMES	  128

struct handoff_name {
	__u8 bytes[HANDOFF_NAME_SIZE];
};

/* What became of what begins like a ClientHello, and of challenges. */
enum handoff_verdict {
	/* A first look at a first flight. */
	HANDOFF_SEEN,
	/* Passed: no challenge. */
	HANDOFF_ORDINARY,
	/* Passed: more of it must come before it can be told. */
	HANDOFF_UNDECIDED,
	/* A challenge, taken. */
	HANDOFF_TAKEN,
	/* Passed challenges, and why. For a name that is not listed; while
	 * switched off or without a lease; no socket of this namespace; one
	 * that cannot be made again (data in the SYN, MPTCP, an answer under
	 * way); beyond the limits; with a wrong checksum; no room for one more;
	 * longer than is looked at, or in several records; given up before. */
	HANDOFF_OTHER_NAME,
	HANDOFF_NOT_TAKING,
	HANDOFF_NO_SOCKET,
	HANDOFF_UNFIT_SOCKET,
	HANDOFF_LIMITED,
	HANDOFF_DAMAGED,
	HANDOFF_NO_ROOM,
	HANDOFF_TOO_LONG,
	HANDOFF_LEFT_ALONE,
	HANDOFF_VERDICTS,
};

/* Of one interface on one CPU. */
struct handoff_interface {
	__u64 packets[HANDOFF_VERDICTS];
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
	/* Passed: its first SYN was steered and never answered. */
	STEER_UNANSWERED,
	/* Passed: the kernel refused to assign it. */
	STEER_REFUSED,
	STEER_VERDICTS,
};

/* The loader asks for the listener of a handshake by a packet that has its name,
 * a struct bpf_sock_tuple, here: behind where an Ethernet header would be. */
#define STEER_NAME_AT 16

/* Of one interface on one CPU. */
struct steer_interface {
	__u64 packets[STEER_VERDICTS];
	struct host_memory known;
};

/* Interfaces that can be counted; the others are served uncounted. */
#define COUNTED_INTERFACES 4096

#endif
