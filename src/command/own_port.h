/* SPDX-License-Identifier: MIT */
/* The port that the proxy itself listens on. */
#ifndef COMMAND_OWN_PORT_H
#define COMMAND_OWN_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "command/options.h"
#include "supervisor/supervisor.h"

/* Is @port taken, and will start take another one then? */
bool own_port_gives_way(const struct options *options,
			const struct redirect_ops *ops, uint16_t port);

/*
 * Where this host has given the port to a connection, take the next that is
 * free, and choose the redirect anew; unless somebody counts on the port. Who
 * listens there may be an instance of another pidfile, and keeps it: two cannot
 * have the visitors, and may well have challenges. 0 or negative errno (logged).
 */
int own_port_choose(const struct options *options,
		    struct supervisor_settings *settings);

/* Does no backend lead back to the proxy? 0 or -ELOOP (logged). */
int own_port_check_backends(const struct supervisor_settings *settings);

#endif
