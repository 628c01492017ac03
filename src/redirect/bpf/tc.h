/* SPDX-License-Identifier: MIT */
/*
 * Attach a BPF program to an interface's TC ingress, whatever program it is.
 *
 * Two ways. A tcx link (kernel 6.6) ends with the process that holds it. A
 * filter on a clsact qdisc outlives its process, so it carries in its handle
 * whose it is: the next start or stop finds it again.
 */
#ifndef REDIRECT_BPF_TC_H
#define REDIRECT_BPF_TC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tc_way {
	TC_TCX,
	TC_CLSACT,
};

struct tc_attachment {
	enum tc_way way;
	unsigned int ifindex;
	/* The link, or -1. */
	int link_fd;
	/* The filter's, see tc_handle(). */
	uint32_t handle;
};

/* "tcx" or "clsact". */
const char *tc_way_text(enum tc_way way);

/* The way this kernel offers. Needs CAP_NET_ADMIN to know. */
enum tc_way tc_best_way(void);

/* An instance, by its listening port. What it has more than once on an
 * interface is told apart by @number, which is below TC_NUMBERS. */
#define TC_NUMBERS		     16
#define TC_INSTANCE(port, number)    ((uint32_t)(number) << 28 | (port))
#define TC_INSTANCE_NUMBER(instance) ((instance) >> 28)

/*
 * A filter's handle: the instance it belongs to (TC_INSTANCE) and whether we
 * made the clsact qdisc below it, so that the instance that removes our last
 * filter knows if the qdisc may go too. Pure.
 */
uint32_t tc_handle(uint32_t instance, bool made_clsact);
bool tc_handle_is_of(uint32_t handle, uint32_t instance);
bool tc_handle_made_clsact(uint32_t handle);

/*
 * Attach, ahead of other programs where the way allows: ours lets the chain go
 * on, others may not. A filter that a killed instance of the same number left
 * is replaced. Returns 0, -ENODEV (the interface has vanished), -ENOENT (the
 * kernel lacks clsact or the BPF classifier) or other negative errno.
 */
int tc_attach(struct tc_attachment *attachment, enum tc_way way,
	      unsigned int ifindex, int program_fd, uint32_t instance);

/* Ask the kernel: is program @program_id still attached there by us? */
bool tc_is_attached(const struct tc_attachment *attachment,
		    uint32_t program_id);

/*
 * Is something ordered before us on that interface that may end the chain?
 * Then true, and what it is in @text.
 */
bool tc_is_behind(const struct tc_attachment *attachment, uint32_t program_id,
		  char *text, size_t size);

/*
 * Detach; an interface that has vanished took its programs along, that is no
 * error. Returns 0 or negative errno.
 */
int tc_detach(struct tc_attachment *attachment);

/*
 * Remove the filters that a killed instance with this listening port left on
 * @ifindex, and the clsact qdisc below if one of ours made it and nobody uses
 * it now. Returns how many there were, or negative errno.
 */
int tc_remove_leftovers(unsigned int ifindex, uint16_t port);

#endif
