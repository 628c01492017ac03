/* SPDX-License-Identifier: MIT */
/* What a CA meets that validates a name. */
#ifndef COMMAND_CHECK_NAME_H
#define COMMAND_CHECK_NAME_H

#include <stdbool.h>

#include "command/finding.h"
#include "command/options.h"
#include "redirect/host.h"

struct check {
	struct findings findings;
	const struct options *options;
	/* The rule by which NAT publishes the service port, or "". */
	char published[RULE_TEXT_SIZE];
};

void check_name(struct check *check, const char *name);

/* "nginx (process 412)" */
#define LISTENER_TEXT_SIZE 64

/*
 * Does somebody of this host listen for what is sent to @endpoint? If so, @text
 * tells who; "a process that only root can see" if need be.
 */
bool check_listener(const struct endpoint *endpoint,
		    char text[static LISTENER_TEXT_SIZE]);

/*
 * `check --serve`: the way in, proved. The proxy is started, and where the ACME
 * client would answer openssl does, without rights like a worker, and with a
 * certificate such as a client makes for a validation; whoever connects from
 * another host and sees it has proved the way. It has a name that cannot be
 * guessed, and its key is in memory alone.
 */
/* Returns the exit code: EXIT_CODE_DONE with the first proof. */
int check_serve(const struct options *options);

#endif
