/* SPDX-License-Identifier: MIT */
/*
 * Handing off in other network namespaces: where the service is a container's,
 * the web server's sockets are there, and so the program must be, and the
 * sockets that are made.
 *
 * Which namespaces those are is never followed step by step. Whatever happens,
 * they are looked for anew: those that are named, and those that have the
 * address of a target. A namespace that nobody else has any more is let go
 * within a second.
 */
#ifndef REDIRECT_BPF_PLACES_H
#define REDIRECT_BPF_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/netns.h"
#include "redirect/bpf/attachments.h"
#include "redirect/bpf/handoff.h"
#include "redirect/bpf/targets.h"
#include "redirect/redirect.h"

/* One port of one namespace. */
struct place {
	const struct places *places;
	/* One of its names. */
	char path[NETNS_PATH_SIZE];
	struct netns_id id;
	int fd;
	/* Of the web server there, host byte order. */
	uint16_t port;
	/* The last search in which it was wanted. */
	uint32_t round;
	struct handoff handoff;
	struct attachments attachments;
};

struct places {
	/* The lease in it is that of the host's program. */
	const struct redirect_config *config;
	/* Gets descriptors to wait for. */
	int epoll_fd;
	/* As the programs are switched now. */
	struct program_switch program_switch;
	struct place *items[REDIRECT_PLACES];
	size_t count;
	uint32_t round;
	uint64_t searched_ns;
	/* Targets that no namespace has, since when, and that was told. */
	size_t missing;
	uint64_t missing_ns;
	bool told;
	/* What became of challenges in those that are gone. */
	struct handoff gone;
};

/* Begin; ->config and ->epoll_fd are set, and outlive this. */
void places_open(struct places *self);
/* Be in none; safe on zeros, and twice. */
void places_close(struct places *self);

/* Be where @targets are now, if @changed or if something there has. True if it
 * is in others than before. */
bool places_follow(struct places *self, const struct targets *targets,
		   bool changed);

/* Does any web server listen there? Looks each time. */
bool places_serve(const struct places *self);

/* Switch all programs as the host's, but for the port. */
void places_switch(struct places *self, const struct program_switch *wanted);

/* Make sockets for all challenges that were taken (handoff_receive()). */
void places_receive(struct places *self);

/* Fill in where filters would be left. */
void places_leave(const struct places *self,
		  struct redirect_leftovers *leftovers);

/* Add up what became of them. */
void places_count(const struct places *self, struct handoff *total);

#endif
