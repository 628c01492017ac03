/* SPDX-License-Identifier: MIT */
/*
 * A program attached to every interface that packets come in on, for as long
 * as those come and go.
 *
 * The interfaces are never followed step by step. Whatever happens to them,
 * the list is read anew and compared with what is attached: a start, one
 * event, a thousand events at once and events that were lost all take the same
 * way. All of it is about the network namespace that the process is in at the
 * time.
 */
#ifndef REDIRECT_BPF_ATTACHMENTS_H
#define REDIRECT_BPF_ATTACHMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redirect/bpf/interfaces.h"
#include "redirect/bpf/program.h"
#include "redirect/bpf/tc.h"

/* One interface that fits. */
struct attachment {
	struct interface interface;
	/* False if the kernel refused; said once, tried again at each event. */
	bool attached;
	/* Somebody else's program comes first there; said once. */
	bool behind;
	/* The last one in which the interface was seen. */
	uint32_t round;
	struct tc_attachment tc;
};

struct attachments {
	const struct program *program;
	/* See tc_attach(). */
	uint32_t instance;
	/* As for interface_objection(). */
	const char *const *patterns;
	size_t pattern_count;
	enum tc_way way;
	/* Notifications of interfaces and addresses. */
	int watch_fd;
	/* When it was last seen whether the program is still attached. */
	uint64_t looked_ns;
	/* The number of the last reconciliation. */
	uint32_t round;
	struct attachment *items;
	size_t count;
};

/* The interfaces' names in one line of log. */
#define ATTACHMENTS_NAMES_SIZE 512

/*
 * Begin to watch; ->program, ->instance and ->patterns are set, and what they
 * point to outlives this. 0 or negative errno, which is logged.
 */
int attachments_open(struct attachments *self);
/* Be attached nowhere, and no longer watch; safe on zeros with ->watch_fd -1,
 * and twice. */
void attachments_close(struct attachments *self);

/* The handle of those that outlive this process, or 0 if they do not; from open
 * on. */
uint32_t attachments_filters(const struct attachments *self);

/* Be attached to exactly the interfaces that fit now. 0 or negative errno; that
 * one interface refuses is no error, but logged. */
int attachments_reconcile(struct attachments *self);
void attachments_drop_all(struct attachments *self);

/* Have interfaces or addresses changed since the last call? 1, 0 or negative
 * errno. */
int attachments_changed(const struct attachments *self);
/* Has anybody taken the program off an interface? The kernel does not tell of
 * that everywhere; looks only every few seconds. */
bool attachments_are_missing(struct attachments *self);

/* How many there are, with " NAME" of each in @names. */
size_t attachments_name(const struct attachments *self,
			char names[static ATTACHMENTS_NAMES_SIZE]);

/*
 * Remove from all interfaces what a killed instance with this listening port
 * left there. 0 or negative errno.
 */
int attachments_remove_leftovers(uint16_t port);

#endif
