/* SPDX-License-Identifier: MIT */
/*
 * Do answers find their way back? A REDIRECT rule sends each packet to the
 * first address of the interface that it comes in on, and what answers is
 * routed as from there.
 */
#ifndef REDIRECT_IPTABLES_WAYS_H
#define REDIRECT_IPTABLES_WAYS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Is there, in IPv4, an interface with routes and without an address, so that
 * the kernel drops what is redirected there? Or a policy rule that routes what
 * comes from the service, by its port or by an address that is not the first of
 * its interface? Returns 1 with what it is in @what, 0, or negative errno.
 */
int ways_obstacle(uint16_t service_port, char *what, size_t size);

#endif
