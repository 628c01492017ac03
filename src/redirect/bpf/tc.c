// SPDX-License-Identifier: MIT
#include "redirect/bpf/tc.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/netlink.h"

/* Newer than the headers of libbpf 1.1 (kernel 6.6, include/uapi/linux/bpf.h).
 */
#define ATTACH_TYPE_TCX_INGRESS ((enum bpf_attach_type)46)
#define ATTACH_BEFORE_OTHERS	(1U << 3)
/* As many programs as the kernel allows on one hook (BPF_MPROG_MAX). */
#define TCX_MAX_PROGRAMS 64

/*
 * Filters of one priority make one chain, lower ones run earlier; `tc` picks
 * from 49152 downwards. All our instances have the same, each its handle.
 */
#define FILTER_PRIORITY 443
/* What our programs' names begin with: it tells our filters from others' on
 * that priority. */
#define OUR_PROGRAMS "acme_alpn_"

#define HANDLE_MARK	   0x0a1c0000U
#define HANDLE_MADE_CLSACT 0x00010000U
#define HANDLE_INSTANCE	   0xf000ffffU

const char *tc_way_text(enum tc_way way)
{
	return way == TC_TCX ? "tcx" : "clsact";
}

uint32_t tc_handle(uint32_t instance, bool made_clsact)
{
	return HANDLE_MARK | (made_clsact ? HANDLE_MADE_CLSACT : 0) | instance;
}

bool tc_handle_is_of(uint32_t handle, uint32_t instance)
{
	return (handle & ~HANDLE_MADE_CLSACT) == (HANDLE_MARK | instance);
}

bool tc_handle_made_clsact(uint32_t handle)
{
	return (handle & ~HANDLE_INSTANCE) ==
	       (HANDLE_MARK | HANDLE_MADE_CLSACT);
}

enum tc_way tc_best_way(void)
{
	unsigned int loopback = if_nametoindex("lo");
	uint32_t count = 0;

	/* -EINVAL: a kernel that does not know the attach type. */
	return bpf_prog_query((int)loopback, ATTACH_TYPE_TCX_INGRESS, 0, NULL,
			      NULL, &count) == -EINVAL
		       ? TC_CLSACT
		       : TC_TCX;
}

/* What the filters of one direction of a clsact qdisc are. */
struct filter_census {
	/* Whose handle is looked for. */
	uint32_t instance;
	/* Its handle, 0 if it has no filter there. */
	uint32_t handle;
	/* The program's id in that filter. */
	uint32_t program_id;
	/* A filter of an instance of ours says that we made the qdisc. */
	bool made_clsact;
	/* Filters that are not this instance's. */
	unsigned int others;
	/* The first of them to run before ours, empty if none does. */
	char ahead[64];
};

static bool is_our_program(const char *name)
{
	return strncmp(name, OUR_PROGRAMS, strlen(OUR_PROGRAMS)) == 0;
}

static bool is_our_filter(const struct tcmsg *filter, const char *kind,
			  const char *program)
{
	return TC_H_MAJ(filter->tcm_info) >> 16 == FILTER_PRIORITY &&
	       strcmp(kind, "bpf") == 0 && is_our_program(program);
}

static void note_other(struct filter_census *census, uint32_t priority,
		       const char *kind, const char *program)
{
	census->others++;
	if (priority < FILTER_PRIORITY && !census->ahead[0])
		snprintf(census->ahead, sizeof(census->ahead), "%s %s pref %u",
			 kind, program, priority);
}

static int count_filter(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *filter =
		netlink_body(message, RTM_NEWTFILTER, sizeof(*filter));
	struct filter_census *census = context;
	const struct rtattr *options;
	char kind[IFNAMSIZ];
	char program[24];

	/* Handle 0 stands for the chain of a priority, not for a filter. */
	if (!filter || !filter->tcm_handle)
		return 0;
	netlink_text(netlink_attribute(message, sizeof(*filter), TCA_KIND),
		     kind, sizeof(kind));
	options = netlink_attribute(message, sizeof(*filter), TCA_OPTIONS);
	netlink_text(netlink_nested(options, TCA_BPF_NAME), program,
		     sizeof(program));

	if (!is_our_filter(filter, kind, program)) {
		note_other(census, TC_H_MAJ(filter->tcm_info) >> 16, kind,
			   program);
		return 0;
	}
	if (tc_handle_made_clsact(filter->tcm_handle))
		census->made_clsact = true;
	if (options && tc_handle_is_of(filter->tcm_handle, census->instance)) {
		census->handle = filter->tcm_handle;
		census->program_id =
			netlink_u32(netlink_nested(options, TCA_BPF_ID));
	} else {
		census->others++;
	}
	return 0;
}

static int take_census(unsigned int ifindex, uint32_t direction,
		       struct filter_census *census)
{
	const struct tcmsg wanted = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction),
	};

	return netlink_dump(NETLINK_ROUTE, RTM_GETTFILTER, &wanted,
			    sizeof(wanted), count_filter, census);
}

/* Delete the clsact qdisc on @ifindex if neither direction has a filter. */
static int remove_unused_clsact(unsigned int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct filter_census census = { .instance = 0 };
	int err;

	err = take_census(ifindex, TC_H_MIN_INGRESS, &census);
	if (!err)
		err = take_census(ifindex, TC_H_MIN_EGRESS, &census);
	if (err || census.others)
		return err;
	return bpf_tc_hook_destroy(&both);
}

static int remove_filter(unsigned int ifindex, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, ingress, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = handle,
		    .priority = FILTER_PRIORITY);
	int err;

	err = bpf_tc_detach(&ingress, &filter);
	if (!err && tc_handle_made_clsact(handle))
		err = remove_unused_clsact(ifindex);
	/* Gone with its interface, or removed by someone else. */
	return err == -ENODEV || err == -ENOENT || err == -EINVAL ? 0 : err;
}

static int attach_clsact(struct tc_attachment *attachment, int program_fd,
			 uint32_t instance)
{
	LIBBPF_OPTS(bpf_tc_hook, ingress, .ifindex = (int)attachment->ifindex,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program_fd,
		    .priority = FILTER_PRIORITY, .flags = BPF_TC_F_REPLACE);
	struct filter_census census = { .instance = instance };
	bool made_clsact;
	int err;

	err = bpf_tc_hook_create(&ingress);
	if (err && err != -EEXIST)
		return err;
	made_clsact = !err;

	err = take_census(attachment->ifindex, TC_H_MIN_INGRESS, &census);
	if (!err) {
		attachment->handle =
			census.handle
				? census.handle
				: tc_handle(instance,
					    made_clsact || census.made_clsact);
		filter.handle = attachment->handle;
		err = bpf_tc_attach(&ingress, &filter);
	}
	if (err && made_clsact)
		remove_unused_clsact(attachment->ifindex);
	return err;
}

static int attach_tcx(struct tc_attachment *attachment, int program_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		    .flags = ATTACH_BEFORE_OTHERS);
	int fd;

	fd = bpf_link_create(program_fd, (int)attachment->ifindex,
			     ATTACH_TYPE_TCX_INGRESS, &options);
	if (fd < 0)
		return fd;
	attachment->link_fd = fd;
	return 0;
}

int tc_attach(struct tc_attachment *attachment, enum tc_way way,
	      unsigned int ifindex, int program_fd, uint32_t instance)
{
	*attachment = (struct tc_attachment){
		.way = way,
		.ifindex = ifindex,
		.link_fd = -1,
	};
	return way == TC_TCX ? attach_tcx(attachment, program_fd)
			     : attach_clsact(attachment, program_fd, instance);
}

/* The ids of the tcx programs, in the order they run; negative errno. */
static int list_tcx(unsigned int ifindex, uint32_t ids[TCX_MAX_PROGRAMS])
{
	uint32_t count = TCX_MAX_PROGRAMS;
	int err;

	err = bpf_prog_query((int)ifindex, ATTACH_TYPE_TCX_INGRESS, 0, NULL,
			     ids, &count);
	return err ? err : (int)count;
}

bool tc_is_attached(const struct tc_attachment *attachment, uint32_t program_id)
{
	struct filter_census census = { .instance = attachment->handle &
						    HANDLE_INSTANCE };
	uint32_t ids[TCX_MAX_PROGRAMS];
	int count;

	if (attachment->way == TC_CLSACT)
		return take_census(attachment->ifindex, TC_H_MIN_INGRESS,
				   &census) == 0 &&
		       census.handle == attachment->handle &&
		       census.program_id == program_id;

	/* The link lives as long as its descriptor, but not the attachment. */
	count = list_tcx(attachment->ifindex, ids);
	for (int i = 0; i < count; i++) {
		if (ids[i] == program_id)
			return true;
	}
	return false;
}

/* To look at others' programs takes CAP_SYS_ADMIN: without it, "". */
static void read_program_name(uint32_t id, char name[static BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	cleanup_fd int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0)
		bpf_obj_get_info_by_fd(fd, &info, &size);
	memcpy(name, info.name, sizeof(info.name));
}

static bool is_behind_tcx(unsigned int ifindex, uint32_t program_id, char *text,
			  size_t size)
{
	uint32_t ids[TCX_MAX_PROGRAMS];
	char name[BPF_OBJ_NAME_LEN];
	int count = list_tcx(ifindex, ids);

	for (int i = 0; i < count && ids[i] != program_id; i++) {
		read_program_name(ids[i], name);
		/* Another instance of ours lets the chain go on. */
		if (is_our_program(name))
			continue;
		snprintf(text, size, "tcx program %s (id %u)", name, ids[i]);
		return true;
	}
	return false;
}

bool tc_is_behind(const struct tc_attachment *attachment, uint32_t program_id,
		  char *text, size_t size)
{
	struct filter_census census = { .instance = 0 };

	if (attachment->way == TC_TCX)
		return is_behind_tcx(attachment->ifindex, program_id, text,
				     size);
	take_census(attachment->ifindex, TC_H_MIN_INGRESS, &census);
	snprintf(text, size, "filter %s", census.ahead);
	return census.ahead[0];
}

int tc_detach(struct tc_attachment *attachment)
{
	if (attachment->way == TC_CLSACT)
		return remove_filter(attachment->ifindex, attachment->handle);
	close_fd_at(&attachment->link_fd);
	return 0;
}

static int remove_leftover(unsigned int ifindex, uint32_t instance)
{
	struct filter_census census = { .instance = instance };
	int err;

	err = take_census(ifindex, TC_H_MIN_INGRESS, &census);
	/* No such qdisc, no such interface any more, or a kernel without any
	 * filters (CONFIG_NET_CLS). */
	if (err == -EINVAL || err == -ENOENT || err == -ENODEV ||
	    err == -EOPNOTSUPP)
		return 0;
	if (err || !census.handle)
		return err;
	err = remove_filter(ifindex, census.handle);
	return err ? err : 1;
}

int tc_remove_leftovers(unsigned int ifindex, uint16_t port)
{
	int removed = 0;

	for (uint32_t number = 0; number < TC_NUMBERS; number++) {
		int result =
			remove_leftover(ifindex, TC_INSTANCE(port, number));

		if (result < 0)
			return result;
		removed += result;
	}
	return removed;
}
