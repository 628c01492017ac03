// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Look at all, touch only the CA's.
 *
 * Every packet passes, whatever it is, until a first flight has been read that
 * offers acme-tls/1 (first_flight.bpf.h). Then, and only if the web server's
 * socket stands exactly where the packet says (web_socket.bpf.h),
 *  - the connection's numbers and the hello's bytes go to the supervisor;
 *  - the segment becomes a RST with the very sequence number that the web
 *    server's socket waits for: that socket goes, and nothing is answered;
 *  - the connection's next segments are kept from the port until the
 *    supervisor has made a socket of the same name.
 * The client notices nothing, and no other packet is dropped, delayed, changed
 * or answered. Any doubt is for the web server.
 */
#include "bpf/web_socket.bpf.h"
#include "bpf/host.bpf.h"
#include "bpf/limits.bpf.h"

#define TCP_SEQUENCE_AT 4
#define TCP_FLAGS_AT	12
#define TCP_CHECKSUM_AT 16
/* No options, and no flags but these. */
#define TCP_PLAIN_RESET 0x5014
/* The supervisor needs 50 us; a client sends again after 200 ms. */
#define MOVE_NS 1500000000ull
/* Kept free in the ring buffer for the event at hand; and for challenges by
 * what follows on one. */
#define RING_SIZE	   (1 << 19)
#define RING_ROOM	   (2 * HANDOFF_BYTES)
#define RING_ROOM_FOR_MORE (RING_SIZE / 2)
/* More than the headers of a segment without extension headers. */
#define LONGEST_DIRECT 128
/* What bpf_csum_diff() takes at once. */
#define SUM_PIECE 512

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_SIZE);
} handoff_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HANDOFF_MOVES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct handoff_flow);
	__type(value, struct handoff_move);
} handoff_moves SEC(".maps");

/* The supervisor's: what it could not move. The oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HANDOFF_MOVES);
	__type(key, struct handoff_flow);
	__type(value, struct handoff_move);
} handoff_given_up SEC(".maps");

/* By ifindex; the loader adds an entry for each interface it attaches to. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, COUNTED_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct handoff_interface);
} handoff_interfaces SEC(".maps");

/* A segment as it is summed up, with zeros behind it. */
struct summed {
	__u8 bytes[HANDOFF_BYTES + SUM_PIECE + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct summed);
} segment_summed SEC(".maps");

/* Until then a connection may be on its way; and the last such time that has
 * been seen to be over, so that no CPU takes back what another one says. */
static volatile __u64 moving_until_ns SEC(".data.program");
static volatile __u64 moved_until_ns SEC(".data.program");

static __always_inline void count(const struct __sk_buff *skb, bool first,
				  __u32 verdict)
{
	struct handoff_interface *interface;
	__u32 ifindex = skb->ifindex;

	interface = bpf_map_lookup_elem(&handoff_interfaces, &ifindex);
	if (!interface)
		return;
	if (first)
		interface->packets[HANDOFF_SEEN]++;
	/* Compared and used in one register. */
	FORGET_RANGE(verdict);
	if (verdict < HANDOFF_VERDICTS)
		interface->packets[verdict]++;
}

static __always_inline __u32 fold(__s64 sum)
{
	__u64 folded = (__u32)sum;

	folded = (folded & 0xffff) + (folded >> 16);
	folded = (folded & 0xffff) + (folded >> 16);
	return (__u32)folded & 0xffff;
}

static __always_inline __s64 sum_of_names(const struct look *look, __u32 length)
{
	struct {
		struct host_address client, server;
		__be32 length, protocol;
	} pseudo = {
		.client = look->flow.client,
		.server = look->flow.server,
		.length = bpf_htonl(length),
		.protocol = bpf_htonl(IPPROTO_TCP),
	};
	__s64 sum;

	/* IPv4's sum has no prefix in it; two of them add up to zero. */
	if (look->flow.client.words[2] == bpf_htonl(0xffff) &&
	    !look->flow.client.words[0] && !look->flow.client.words[1])
		pseudo.client.words[2] = pseudo.server.words[2] = 0;
	sum = bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);
	return sum;
}

/* What a checksum tells. */
enum health {
	DAMAGED,
	/* The bare sum of the names: right if the packet was made on this
	 * machine, or was merged by GRO, which has looked. */
	BARE,
	WHOLE,
};

/*
 * Nobody has looked at the checksum yet, and a damaged segment would make a
 * damaged RST, which the web server's socket does not heed.
 */
__noinline int health(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	const struct look *look;
	struct summed *summed;
	__u64 length, piece;
	__u32 key = 0;
	__s64 sum;

	summed = bpf_map_lookup_elem(&segment_summed, &key);
	if (!at_hand || !summed)
		return DAMAGED;
	look = &at_hand->look;
	length = look->segment.tcp.doff * 4 + look->length;
	sum = sum_of_names(look, (__u32)length);
	if (sum < 0)
		return DAMAGED;
	if (fold(sum) == look->segment.tcp.check)
		return BARE;
	if (length < sizeof(struct tcphdr) || length > HANDOFF_BYTES)
		return DAMAGED;
	BOUND_LENGTH(length);
	if (bpf_skb_load_bytes(skb, look->data - look->segment.tcp.doff * 4,
			       summed->bytes, (__u32)length))
		return DAMAGED;
	summed->bytes[length] = 0;
	summed->bytes[length + 1] = 0;
	summed->bytes[length + 2] = 0;
	for (__u32 at = 0; at < HANDOFF_BYTES; at += SUM_PIECE) {
		if (at >= length)
			break;
		piece = length - at;
		if (piece > SUM_PIECE)
			piece = SUM_PIECE;
		piece = (piece + 3) & 0x3fc;
		if (piece > SUM_PIECE)
			piece = SUM_PIECE;
		sum = bpf_csum_diff(0, 0, (__be32 *)(summed->bytes + at),
				    (__u32)piece, (__wsum)sum);
		if (sum < 0)
			return DAMAGED;
	}
	return fold(sum) == 0xffff ? WHOLE : DAMAGED;
}

/*
 * Is the checksum still to be made, as the bare sum says? Of such a packet the
 * kernel leaves it as it is when something in it is replaced; of one that came
 * with this sum from outside, which is wrong, it does not.
 */
static __always_inline bool is_sum_to_come(struct __sk_buff *skb,
					   const struct look *look)
{
	const __u32 at =
		look->data - look->segment.tcp.doff * 4 + TCP_CHECKSUM_AT;
	const __u16 before = look->segment.tcp.check;
	__u16 after;

	if (bpf_l4_csum_replace(skb, at, 0, 1, sizeof(after)) ||
	    bpf_skb_load_bytes(skb, at, &after, sizeof(after)))
		return false;
	if (after == before)
		return true;
	bpf_skb_store_bytes(skb, at, &before, sizeof(before), 0);
	return false;
}

/* IPv4's header has a checksum of its own, which is looked at behind us. */
__noinline int is_header_undamaged(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	struct summed *summed;
	const struct look *look;
	__u32 key = 0, size;
	__s64 sum;

	summed = bpf_map_lookup_elem(&segment_summed, &key);
	if (!at_hand || !summed)
		return 0;
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 1;
	look = &at_hand->look;
	size = look->segment.tcp_offset & 0x3c;
	if (size < sizeof(struct iphdr) ||
	    bpf_skb_load_bytes(skb,
			       look->data - look->segment.tcp.doff * 4 -
				       look->segment.tcp_offset,
			       summed->bytes, size))
		return 0;
	sum = bpf_csum_diff(0, 0, (__be32 *)summed->bytes, size, 0);
	return sum >= 0 && fold(sum) == 0xffff;
}

/* Would the web server's socket get to see it? */
static __always_inline bool is_undamaged(struct __sk_buff *skb,
					 const struct look *look)
{
	const int sum = health(skb);

	return (sum == WHOLE || (sum == BARE && is_sum_to_come(skb, look))) &&
	       is_header_undamaged(skb);
}

static __always_inline bool send_event(struct handoff_event *event)
{
	__u64 size = event->length;

	FORGET_RANGE(size);
	if (size > HANDOFF_BYTES)
		return false;
	size += __builtin_offsetof(struct handoff_event, bytes);
	return !bpf_ringbuf_output(&handoff_events, event, size,
				   BPF_RB_FORCE_WAKEUP);
}

static __always_inline bool ring_has_room(__u64 room)
{
	return bpf_ringbuf_query(&handoff_events, BPF_RB_AVAIL_DATA) + room <
	       RING_SIZE;
}

/*
 * Make the segment the RST that takes the web server's socket away: the number,
 * where it begins with bytes that are there already, and the flags. What is in
 * it besides is not read; nor are the options, since a request socket minds an
 * old timestamp, and conntrack a RST with FIN or URG. The checksum follows, so
 * that the sum over all stays what it was.
 */
static __always_inline bool make_reset(struct __sk_buff *skb,
				       const struct look *look,
				       const struct handoff_event *event)
{
	const __u32 tcp = look->data - look->segment.tcp.doff * 4;
	const __be32 old = look->segment.tcp.seq;
	const __be32 new = bpf_htonl(event->receive_next);
	const __be16 reset = bpf_htons(TCP_PLAIN_RESET);
	__be16 flags;

	return !bpf_skb_load_bytes(skb, tcp + TCP_FLAGS_AT, &flags,
				   sizeof(flags)) &&
	       !bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_AT, old, new, 4) &&
	       !bpf_skb_store_bytes(skb, tcp + TCP_SEQUENCE_AT, &new,
				    sizeof(new), 0) &&
	       !bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_AT, flags, reset,
				    2) &&
	       !bpf_skb_store_bytes(skb, tcp + TCP_FLAGS_AT, &reset,
				    sizeof(reset), 0);
}

/* Was this very connection given up? Then its socket should not be there, and
 * the first time that it is the supervisor is told so. */
static __always_inline bool is_given_up(struct handoff_event *event, __u64 now)
{
	struct handoff_move *move =
		bpf_map_lookup_elem(&handoff_given_up, &event->flow);

	if (!move || now >= move->until_ns ||
	    move->send_next != event->send_next)
		return false;
	if (!move->told) {
		move->told = 1;
		event->kind = HANDOFF_STANDS;
		event->length = 0;
		send_event(event);
	}
	return true;
}

static __always_inline bool is_for_this_host(struct __sk_buff *skb,
					     const struct look *look)
{
	return skb->protocol == bpf_htons(ETH_P_IP)
		       ? ends_here(skb, &look->segment, AF_INET)
		       : ends_here(skb, &look->segment, AF_INET6);
}

/* The numbers that come from the segment itself. */
static __always_inline void describe(struct handoff_event *event,
				     const struct __sk_buff *skb,
				     const struct look *look)
{
	const struct tcphdr *tcp = &look->segment.tcp;

	event->flow = look->flow;
	event->ifindex = skb->ifindex;
	event->last_sequence = look->sequence;
	event->send_next = bpf_ntohl(tcp->ack_seq);
}

/* The connection lies elsewhere, or anybody says so without one: only as often
 * as the supervisor can ask whether it is true. */
static __always_inline void tell_of_nobody(struct __sk_buff *skb,
					   const struct look *look,
					   struct handoff_event *event,
					   __u64 now)
{
	if (!is_for_this_host(skb, look) ||
	    !take_token(&all_elsewhere, now, ELSEWHERE_A_SECOND,
			ELSEWHERE_AT_ONCE))
		return;
	event->kind = HANDOFF_NOBODY;
	event->length = 0;
	send_event(event);
}

/* May the challenge at hand be taken, and from where? What anybody can send
 * without a connection uses up no limit. */
static __always_inline enum handoff_verdict
may_take(struct __sk_buff *skb, const struct look *look,
	 struct first_flight *flight, __u64 now)
{
	struct handoff_event *event = &flight->event;
	enum handoff_verdict verdict;

	if (now >= lease_until || now >= program_switch.supervised_until_ns)
		return HANDOFF_NOT_TAKING;
	if (!is_undamaged(skb, look))
		return HANDOFF_DAMAGED;
	describe(event, skb, look);
	verdict = (enum handoff_verdict)read_socket(skb);
	if (verdict == HANDOFF_NO_SOCKET)
		tell_of_nobody(skb, look, event, now);
	if (verdict != HANDOFF_TAKEN)
		return verdict;
	if (is_given_up(event, now))
		return HANDOFF_LEFT_ALONE;
	if (!is_within_limits(&look->flow.client, now))
		return HANDOFF_LIMITED;
	return has_each_extension_once(flight) ? HANDOFF_TAKEN
					       : HANDOFF_ORDINARY;
}

/* Take the challenge that is at hand. */
__noinline int take(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	struct handoff_event *event;
	struct handoff_move move = {};
	enum handoff_verdict verdict;
	const struct look *look;
	__u64 now = clock_ns();

	if (!at_hand)
		return HANDOFF_NO_ROOM;
	look = &at_hand->look;
	event = &at_hand->flight.event;
	if (program_switch.only_listed_names &&
	    !is_name_listed(&at_hand->flight))
		return HANDOFF_OTHER_NAME;
	verdict = may_take(skb, look, &at_hand->flight, now);
	if (verdict != HANDOFF_TAKEN)
		return verdict;
	event->kind = HANDOFF_TAKE;
	event->seen_ns = bpf_ktime_get_ns() + (__u64)config.clock_offset_ns;
	event->send_window =
		bpf_ntohs(look->segment.tcp.window)
		<< (event->window_scaling ? event->send_window_scale : 0);
	move.until_ns = now + MOVE_NS;
	move.send_next = event->send_next;
	move.first = event->sequence;
	/* Another CPU may have the same segment. */
	if (!ring_has_room(RING_ROOM) ||
	    bpf_map_update_elem(&handoff_moves, &look->flow, &move,
				BPF_NOEXIST))
		return HANDOFF_NO_ROOM;
	moving_until_ns = move.until_ns;
	/* In this order: without the RST nothing has happened yet, and without
	 * an event the socket that goes would be missed by its client alone. */
	if (!make_reset(skb, look, event) || !send_event(event)) {
		bpf_map_delete_elem(&handoff_moves, &look->flow);
		return HANDOFF_NO_ROOM;
	}
	/* What is kept of the flight stays: the segment may come again. */
	return HANDOFF_TAKEN;
}

/* Whatever becomes of a flight that has grown; HANDOFF_VERDICTS: nothing that
 * is counted. */
static __always_inline __u32 decide(struct __sk_buff *skb,
				    struct at_hand *at_hand)
{
	const int verdict = judge_flight();

	if (verdict == HELLO_OTHER) {
		if (kept_until_ns)
			bpf_map_delete_elem(&kept_flights, &at_hand->look.flow);
		return HANDOFF_ORDINARY;
	}
	if (verdict == HELLO_ACME)
		return (__u32)take(skb);
	if (verdict == TOO_LONG)
		return HANDOFF_TOO_LONG;
	if (health(skb) == DAMAGED)
		return HANDOFF_VERDICTS;
	keep(&at_hand->look, &at_hand->flight, clock_ns());
	return HANDOFF_UNDECIDED;
}

/* The segment at hand begins a flight. */
__noinline int look_first(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	__u32 verdict = HANDOFF_TOO_LONG;

	if (!at_hand)
		return TCX_NEXT;
	at_hand->flight.begun = 0;
	at_hand->flight.event.sequence = at_hand->look.sequence;
	if (load_data(skb, &at_hand->look, &at_hand->flight, 0))
		verdict = decide(skb, at_hand);
	count(skb, true, verdict);
	return TCX_NEXT;
}

/* Does the segment at hand go on where a kept flight ends? Then it is looked
 * at. */
__noinline int look_again(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	const struct first_flight *front;
	struct kept_flight *kept;

	if (!at_hand)
		return 0;
	kept = bpf_map_lookup_elem(&kept_flights, &at_hand->look.flow);
	if (!kept)
		return 0;
	front = (const struct first_flight *)kept;
	/* A gap, or once more: the web server's socket minds it. */
	if (at_hand->look.sequence !=
	    front->event.sequence + front->event.length)
		return 0;
	bring_back(&at_hand->flight, kept);
	/* Meanwhile another flight may have got its room. */
	if (bpf_map_lookup_elem(&kept_flights, &at_hand->look.flow) != kept)
		return 0;
	if (load_data(skb, &at_hand->look, &at_hand->flight,
		      at_hand->flight.event.length)) {
		count(skb, false, decide(skb, at_hand));
	} else {
		count(skb, false, HANDOFF_TOO_LONG);
		bpf_map_delete_elem(&kept_flights, &at_hand->look.flow);
	}
	return 1;
}

/* Is the segment of the connection that is moved, and of no new one? */
static __always_inline bool is_of_move(const struct look *look,
				       const struct handoff_move *move)
{
	const struct tcphdr *tcp = &look->segment.tcp;

	return tcp->syn ? look->sequence + 1 == move->first
			: bpf_ntohl(tcp->ack_seq) == move->send_next;
}

/* The segment at hand may be of a connection that has no socket at this moment:
 * its bytes go into the new one's queue, and the client learns of them by its
 * first ACK. A SYN that comes once more, and late, would begin another one. */
__noinline int hold_back(struct __sk_buff *skb)
{
	struct at_hand *at_hand = find_at_hand();
	struct first_flight *flight;
	struct handoff_move *move;
	const struct look *look;

	if (!at_hand)
		return TCX_NEXT;
	look = &at_hand->look;
	flight = &at_hand->flight;
	move = bpf_map_lookup_elem(&handoff_moves, &look->flow);
	if (!move || clock_ns() >= move->until_ns || look->segment.tcp.rst ||
	    !is_of_move(look, move))
		return TCX_NEXT;
	if (look->length && !look->segment.tcp.syn &&
	    ring_has_room(RING_ROOM_FOR_MORE) &&
	    load_data(skb, look, flight, 0)) {
		describe(&flight->event, skb, look);
		flight->event.kind = HANDOFF_MORE;
		flight->event.sequence = look->sequence;
		/* No room: the client sends it again. */
		send_event(&flight->event);
	}
	return TC_ACT_SHOT;
}

/* Does the network header lie @link bytes from the packet's beginning? Its
 * first bytes tell: no sender can put the same in front of it. */
static __always_inline bool is_linked_by(struct __sk_buff *skb,
					 const __u32 *header, __u32 link)
{
	__u32 words[3];

	return !bpf_skb_load_bytes(skb, link, words, sizeof(words)) &&
	       words[0] == header[0] && words[1] == header[1] &&
	       words[2] == header[2];
}

/* Bytes are read from the packet's beginning on: what lies in fragments is not
 * to be had otherwise. */
static __always_inline bool find_data(struct __sk_buff *skb, struct look *look,
				      int family)
{
	const struct segment *segment = &look->segment;
	const __u32 *header = family == AF_INET ? (const __u32 *)&segment->ipv4
						: (const __u32 *)&segment->ipv6;
	__u32 link = sizeof(struct ethhdr);

	if (!segment->ethernet) {
		/* None; Ethernet, with a VLAN tag; what a tunnel took off
		 * (before 5.11), without and with Ethernet. */
		if (is_linked_by(skb, header, 0))
			link = 0;
		else if (is_linked_by(skb, header, 14))
			link = 14;
		else if (is_linked_by(skb, header, 18))
			link = 18;
		else if (is_linked_by(skb, header, 20))
			link = 20;
		else if (is_linked_by(skb, header, 40))
			link = 40;
		else if (is_linked_by(skb, header, 34))
			link = 34;
		else if (is_linked_by(skb, header, 54))
			link = 54;
		else
			return false;
	}
	look->data = link + segment->tcp_offset + segment->tcp.doff * 4;
	return true;
}

/* From here on functions find it there. */
static __always_inline bool bring_to_hand(const struct look *look, int family)
{
	struct at_hand *at_hand = find_at_hand();
	struct handoff_flow *flow;

	if (!at_hand)
		return false;
	at_hand->look = *look;
	flow = &at_hand->look.flow;
	flow->client = source(&look->segment, family);
	flow->server = destination(&look->segment, family);
	flow->client_port = look->segment.tcp.source;
	flow->server_port = look->segment.tcp.dest;
	return true;
}

/* Is any connection on its way to a new socket? */
static __always_inline bool is_moving(void)
{
	const __u64 until = moving_until_ns;

	if (until == moved_until_ns)
		return false;
	if (clock_ns() < until)
		return true;
	moved_until_ns = until;
	return false;
}

/* From the packet itself where its beginning is known and linear: a helper's
 * call is what costs, and all data of all connections come by here. */
static __always_inline bool load_glimpse(struct __sk_buff *skb,
					 const struct look *look,
					 __u32 glimpse[GLIMPSE_SIZE / 4])
{
	/* 14 + 40 + 60 at most, as the verifier must see as well. */
	const __u32 *data =
		(void *)(long)skb->data + (look->data & (LONGEST_DIRECT - 1));

	if (look->segment.ethernet &&
	    (void *)data + GLIMPSE_SIZE <= (void *)(long)skb->data_end) {
		glimpse[0] = data[0];
		glimpse[1] = data[1];
		glimpse[2] = data[2];
		return true;
	}
	return !bpf_skb_load_bytes(skb, look->data, glimpse, GLIMPSE_SIZE);
}

/* Look at enough of the data to see whether a first flight may begin here; of
 * fewer bytes, at the first. */
static __always_inline bool may_begin(struct __sk_buff *skb,
				      const struct look *look)
{
	__u32 words[GLIMPSE_SIZE / 4] = {};
	const __u8 *glimpse = (const __u8 *)words;

	if (look->length >= GLIMPSE_SIZE)
		return load_glimpse(skb, look, words) &&
		       may_begin_flight(glimpse);
	return !bpf_skb_load_bytes(skb, look->data, words, 1) &&
	       (glimpse[0] == RECORD_HANDSHAKE || glimpse[0] == 'P' ||
		glimpse[0] == '\r');
}

static __always_inline int look_at(struct __sk_buff *skb, struct look *look,
				   int family)
{
	const struct tcphdr *tcp = &look->segment.tcp;
	const int length = payload_length(&look->segment, family);
	const bool carries = !tcp->syn && tcp->ack && !tcp->rst && length > 0;

	if (length < 0 || tcp->doff < sizeof(*tcp) / 4)
		return TCX_NEXT;
	if (moving_until_ns == moved_until_ns &&
	    (!carries || !program_switch.enabled))
		return TCX_NEXT;
	look->length = (__u32)length;
	look->sequence = bpf_ntohl(tcp->seq);
	if (!find_data(skb, look, family))
		return TCX_NEXT;
	if (is_moving()) {
		bring_to_hand(look, family);
		if (hold_back(skb) == TC_ACT_SHOT)
			return TC_ACT_SHOT;
	}
	if (!carries || !program_switch.enabled)
		return TCX_NEXT;
	if (kept_until_ns && clock_ns() < kept_until_ns &&
	    bring_to_hand(look, family) && look_again(skb))
		return TCX_NEXT;
	if (may_begin(skb, look) && bring_to_hand(look, family))
		look_first(skb);
	return TCX_NEXT;
}

/* Lets the chain of programs go on, but for what would meet no socket. */
SEC("tc")
int acme_alpn_handoff(struct __sk_buff *skb)
{
	struct look look;

	if (!is_ours(skb))
		return TCX_NEXT;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (find_segment(skb, &look.segment, AF_INET))
			return look_at(skb, &look, AF_INET);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (find_segment(skb, &look.segment, AF_INET6))
			return look_at(skb, &look, AF_INET6);
	}
	return TCX_NEXT;
}

const char program_license[] SEC("license") = "Dual MIT/GPL";
