// SPDX-License-Identifier: MIT
#include "redirect/bpf/steering.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "redirect/bpf/features.h"
#include "redirect/bpf/routes.h"
#include "steer_conntrack.skel.h"
#include "steer_plain.skel.h"

static int open_object(struct steering *steering, enum steering_pin pin)
{
	LIBBPF_OPTS(bpf_object_open_opts, options,
		    .object_name = "acme_alpn_steer");
	const void *image;
	size_t size;

	image = pin == STEERING_NO_PIN ? steer_plain__elf_bytes(&size)
				       : steer_conntrack__elf_bytes(&size);
	steering->object = bpf_object__open_mem(image, size, &options);
	return steering->object ? 0 : -errno;
}

static struct bpf_map *find_map(const struct steering *steering,
				const char *name)
{
	return bpf_object__find_map_by_name(steering->object, name);
}

/* Before the program is loaded, so that the verifier sees a constant. */
static int configure(struct steering *steering, uint16_t service_port,
		     enum steering_pin pin)
{
	const struct program_config config = {
		.clock_offset_ns = features_clock_offset_ns(),
		.service_port = htons(service_port),
		.past_firewall = pin == STEERING_PIN_PAST_FIREWALL,
		.coarse_clock = features_have_coarse_clock(),
	};

	return bpf_map__set_initial_value(find_map(steering, ".rodata.config"),
					  &config, sizeof(config));
}

/*
 * A mapping of our own: libbpf maps this memory only for skeletons. It is the
 * one page of the program that lives on in the worker.
 */
static int map_lease(struct steering *steering)
{
	void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE),
			  PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(find_map(steering, ".bss")), 0);

	if (page == MAP_FAILED)
		return -errno;
	steering->lease = page;
	return 0;
}

static int identify(struct steering *steering)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	struct bpf_program *program;
	int err;

	program = bpf_object__next_program(steering->object, NULL);
	steering->program_fd = bpf_program__fd(program);
	steering->listeners_fd =
		bpf_map__fd(find_map(steering, "steer_listeners"));
	steering->switch_fd =
		bpf_map__fd(find_map(steering, ".data.supervisor"));
	steering->interfaces_fd =
		bpf_map__fd(find_map(steering, "steer_interfaces"));
	steering->destinations_fd =
		bpf_map__fd(find_map(steering, "destinations"));
	err = bpf_obj_get_info_by_fd(steering->program_fd, &info, &size);
	steering->program_id = info.id;
	return err;
}

int steering_load(struct steering *steering, uint16_t service_port,
		  enum steering_pin pin)
{
	int err;

	*steering = (struct steering){ .object = NULL };
	err = open_object(steering, pin);
	if (!err)
		err = configure(steering, service_port, pin);
	if (!err)
		err = bpf_object__load(steering->object);
	if (!err)
		err = identify(steering);
	if (!err)
		err = map_lease(steering);
	if (err)
		steering_unload(steering);
	return err;
}

void steering_unload(struct steering *steering)
{
	if (steering->lease)
		munmap((void *)steering->lease, (size_t)sysconf(_SC_PAGESIZE));
	bpf_object__close(steering->object);
	*steering = (struct steering){ .object = NULL };
}

int steering_set_listeners(const struct steering *steering,
			   const struct listeners *listeners)
{
	const int fds[STEER_LISTENERS] = {
		[STEER_LISTENER_IPV4] = listeners->ipv4,
		[STEER_LISTENER_IPV6] = listeners->ipv6,
	};
	int err;

	for (uint32_t key = 0; key < STEER_LISTENERS; key++) {
		uint64_t value = (uint64_t)fds[key];

		if (fds[key] < 0)
			err = bpf_map_delete_elem(steering->listeners_fd, &key);
		else
			err = bpf_map_update_elem(steering->listeners_fd, &key,
						  &value, BPF_ANY);
		/* Nothing to delete. */
		if (err && !(fds[key] < 0))
			return err;
	}
	return 0;
}

int steering_switch(const struct steering *steering,
		    const struct program_switch *wanted)
{
	const uint32_t key = 0;
	struct program_switch now;
	int err;

	err = bpf_map_update_elem(steering->switch_fd, &key, wanted, BPF_ANY);
	if (!err)
		err = bpf_map_lookup_elem(steering->switch_fd, &key, &now);
	if (!err && memcmp(&now, wanted, sizeof(now)) != 0)
		err = -EIO;
	return err;
}

static int list_destination(const struct route_prefix *from, void *context)
{
	const struct steering *steering = context;
	struct host_prefix to = { .length = from->length };

	if (from->family == AF_INET) {
		to.length += HOST_ADDRESS_BITS - 32;
		to.address.words[2] = htonl(0xffff);
		memcpy(&to.address.words[3], from->bytes,
		       sizeof(to.address.words[3]));
	} else {
		memcpy(to.address.words, from->bytes, sizeof(to.address.words));
	}
	return bpf_map_update_elem(steering->destinations_fd, &to,
				   &steering->round, BPF_ANY);
}

/* Those that were not seen in this round are no longer ours. */
static void forget_old_destinations(const struct steering *steering)
{
	const int fd = steering->destinations_fd;
	struct host_prefix key;
	struct host_prefix next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;
	uint32_t round;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (bpf_map_lookup_elem(fd, &key, &round) == 0 &&
		    round != steering->round)
			bpf_map_delete_elem(fd, &key);
	}
}

int steering_list_destinations(struct steering *steering)
{
	int err;

	steering->round++;
	err = routes_list_local(list_destination, steering);
	if (!err)
		forget_old_destinations(steering);
	return err;
}

void steering_count(const struct steering *steering, unsigned int ifindex)
{
	const int cpus = libbpf_num_possible_cpus();
	struct steer_interface *zeros;

	if (cpus < 1)
		return;
	zeros = calloc((size_t)cpus, sizeof(*zeros));
	if (zeros)
		bpf_map_update_elem(steering->interfaces_fd, &ifindex, zeros,
				    BPF_ANY);
	free(zeros);
}

void steering_forget(const struct steering *steering, unsigned int ifindex)
{
	bpf_map_delete_elem(steering->interfaces_fd, &ifindex);
}

struct steer_counters steering_read(const struct steering *steering,
				    unsigned int ifindex)
{
	const int cpus = libbpf_num_possible_cpus();
	struct steer_counters total = { .packets = { 0 } };
	struct steer_interface *each;

	if (cpus < 1)
		return total;
	each = calloc((size_t)cpus, sizeof(*each));
	if (each &&
	    bpf_map_lookup_elem(steering->interfaces_fd, &ifindex, each) == 0) {
		for (int cpu = 0; cpu < cpus; cpu++)
			for (int i = 0; i < STEER_VERDICTS; i++)
				total.packets[i] +=
					each[cpu].counters.packets[i];
	}
	free(each);
	return total;
}
