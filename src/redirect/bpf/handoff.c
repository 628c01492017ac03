// SPDX-License-Identifier: MIT
#include "redirect/bpf/handoff.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/netns.h"
#include "hello/domain_list.h"
#include "handoff.skel.h"
#include "redirect/bpf/conntrack_revive.h"

/* A connection that could not be moved is left alone for so long. */
#define LEFT_ALONE_NS (60 * NS_PER_S)
/* A flight takes 8 KB, and there may be many containers. */
#define FEW_FLIGHTS 64

/* In lower case, as the program looks them up. */
static int list_names(const struct handoff *handoff,
		      const struct domain_list *names)
{
	const int fd = program_map_fd(&handoff->program, "handoff_names");
	const uint32_t listed = 1;
	int err = 0;

	for (size_t i = 0; names && i < names->count && !err; i++) {
		struct handoff_name name = { .bytes = { 0 } };

		for (size_t j = 0; names->names[i][j]; j++)
			name.bytes[j] = (uint8_t)tolower(
				(unsigned char)names->names[i][j]);
		err = bpf_map_update_elem(fd, &name, &listed, BPF_ANY);
	}
	return err;
}

static void forget_move(const struct handoff *handoff,
			const struct handoff_flow *flow)
{
	bpf_map_delete_elem(handoff->moves_fd, flow);
}

/* The client sends again what was kept from the port meanwhile, and meets
 * whoever has the socket now. */
static void give_up(struct handoff *handoff, const struct handoff_flow *flow,
		    uint32_t send_next, int err)
{
	const uint64_t now = monotonic_ns();
	const struct handoff_move move = {
		.until_ns = now + LEFT_ALONE_NS,
		.send_next = send_next,
	};

	handoff->failed++;
	handoff->failed_ns = now;
	handoff->failed_err = err;
	bpf_map_update_elem(handoff->given_up_fd, flow, &move, BPF_ANY);
	forget_move(handoff, flow);
}

/* Before the worker can answer: conntrack has seen the RST. A kernel without
 * ctnetlink would look for a module each time. Whatever else is wrong may be
 * the one connection's, or be over at the next. */
static void revive(struct handoff *handoff, const struct handoff_flow *flow)
{
	if (handoff->conntrack_fd >= 0 &&
	    conntrack_revive(handoff->conntrack_fd, flow) == -EINVAL)
		close_fd_at(&handoff->conntrack_fd);
}

static void log_move(const struct handoff *handoff,
		     const struct handoff_moving *moved)
{
	const struct handoff_event event = { .flow = moved->flow,
					     .ifindex = moved->ifindex };
	char text[ENDPOINT_TEXT_SIZE];
	struct endpoint client;

	repair_client(&event, &client.address.storage, &client.length);
	log_info("took a challenge from %s in %llu us",
		 endpoint_text(&client, text),
		 (unsigned long long)(handoff->last_ns / 1000));
}

static void measure(struct handoff *handoff, uint64_t seen_ns)
{
	handoff->moved++;
	handoff->moved_ns = monotonic_ns();
	handoff->last_ns = handoff->moved_ns - seen_ns;
	if (handoff->last_ns > handoff->worst_ns)
		handoff->worst_ns = handoff->last_ns;
}

/* Its packets go to the socket from now on, and it to a worker. */
static void finish_move(struct handoff *handoff)
{
	struct handoff_moving moved = handoff->moving;
	int err;

	handoff->moving.fd = -1;
	forget_move(handoff, &moved.flow);
	err = repair_end(moved.fd);
	if (!err) {
		revive(handoff, &moved.flow);
		err = handoff->hand_over(handoff->hand_over_context, moved.fd);
	}
	close_fd_at(&moved.fd);
	if (err) {
		give_up(handoff, &moved.flow, moved.send_next, err);
		return;
	}
	measure(handoff, moved.seen_ns);
	if (!handoff->quiet)
		log_move(handoff, &moved);
}

static int repair(void *event)
{
	return repair_begin(event);
}

/* A socket stays in the namespace that it was made in. */
static int repair_there(const struct handoff *handoff,
			const struct handoff_event *event)
{
	return handoff->netns_fd < 0
		       ? repair_begin(event)
		       : netns_call(handoff->netns_fd, repair, (void *)event);
}

static void begin_move(struct handoff *handoff,
		       const struct handoff_event *event)
{
	int fd = repair_there(handoff, event);

	if (fd < 0) {
		give_up(handoff, &event->flow, event->send_next, fd);
		return;
	}
	handoff->moving = (struct handoff_moving){
		.fd = fd,
		.next_sequence = event->sequence + event->length,
		.send_next = event->send_next,
		.seen_ns = event->seen_ns,
		.flow = event->flow,
		.ifindex = event->ifindex,
	};
}

/* What is not for the connection at hand, or comes behind a gap, the client
 * sends again. */
static void take_more(struct handoff *handoff,
		      const struct handoff_event *event)
{
	struct handoff_moving *moving = &handoff->moving;
	const uint32_t known = moving->next_sequence - event->sequence;

	if (moving->fd < 0 || known >= event->length ||
	    memcmp(&moving->flow, &event->flow, sizeof(moving->flow)) != 0)
		return;
	if (repair_receive(moving->fd, event->bytes + known,
			   event->length - known) == 0)
		moving->next_sequence += event->length - known;
}

static int take_event(void *context, void *data, size_t size)
{
	struct handoff *handoff = context;
	const struct handoff_event *event = data;
	const size_t head = offsetof(struct handoff_event, bytes);

	if (size < head || event->length > size - head)
		return 0;
	switch ((enum handoff_event_kind)event->kind) {
	case HANDOFF_TAKE:
		/* The last one's rest, if any, comes again. */
		if (handoff->moving.fd >= 0)
			finish_move(handoff);
		begin_move(handoff, event);
		break;
	case HANDOFF_MORE:
		take_more(handoff, event);
		break;
	case HANDOFF_NOBODY:
		handoff->nobody += handoff->conntrack_fd >= 0 &&
				   conntrack_leads_away(handoff->conntrack_fd,
							&event->flow);
		break;
	case HANDOFF_STANDS:
		handoff->resets_lost++;
		break;
	}
	return 0;
}

void handoff_receive(struct handoff *handoff)
{
	ring_buffer__consume(handoff->events);
	while (handoff->moving.fd >= 0) {
		const uint64_t seen_ns = handoff->moving.seen_ns;

		/* What came until its packets go to the socket itself; that may
		 * be the next challenge, which has its own yet to come. */
		forget_move(handoff, &handoff->moving.flow);
		ring_buffer__consume(handoff->events);
		if (handoff->moving.fd >= 0 &&
		    handoff->moving.seen_ns == seen_ns)
			finish_move(handoff);
	}
}

int handoff_event_fd(const struct handoff *handoff)
{
	return ring_buffer__epoll_fd(handoff->events);
}

int handoff_translate(const struct handoff *handoff,
		      const struct handoff_translation *translations,
		      size_t count)
{
	static const struct handoff_translation end;
	const int fd = program_map_fd(&handoff->program, "translations");
	int err = 0;

	for (uint32_t key = 0; key < HANDOFF_TRANSLATIONS && !err; key++)
		err = bpf_map_update_elem(
			fd, &key, key < count ? &translations[key] : &end,
			BPF_ANY);
	return err;
}

static int load(struct handoff *handoff, const struct domain_list *names,
		struct program_image image)
{
	int err;

	image.program = "acme_alpn_handoff";
	image.interfaces = "handoff_interfaces";
	image.bytes = handoff_image__elf_bytes(&image.size);
	err = program_load(&handoff->program, &image);
	if (err)
		return err;
	handoff->conntrack_fd = conntrack_revive_open();
	handoff->moves_fd = program_map_fd(&handoff->program, "handoff_moves");
	handoff->given_up_fd =
		program_map_fd(&handoff->program, "handoff_given_up");
	err = list_names(handoff, names);
	if (!err) {
		handoff->events = ring_buffer__new(
			program_map_fd(&handoff->program, "handoff_events"),
			take_event, handoff, NULL);
		err = handoff->events ? 0 : -errno;
	}
	if (err)
		handoff_unload(handoff);
	return err;
}

int handoff_load(struct handoff *handoff, const struct domain_list *names)
{
	*handoff = (struct handoff)HANDOFF_NONE;
	return load(handoff, names, (struct program_image){ .lease_fd = 0 });
}

int handoff_load_there(struct handoff *handoff, const struct domain_list *names,
		       int netns_fd, int lease_fd)
{
	*handoff = (struct handoff)HANDOFF_NONE;
	handoff->netns_fd = netns_fd;
	return load(handoff, names,
		    (struct program_image){ .lease_fd = lease_fd,
					    .kept_flights = FEW_FLIGHTS });
}

void handoff_unload(struct handoff *handoff)
{
	close_fd_at(&handoff->moving.fd);
	close_fd_at(&handoff->conntrack_fd);
	ring_buffer__free(handoff->events);
	handoff->events = NULL;
	program_unload(&handoff->program);
}
