/* SPDX-License-Identifier: MIT */
/* Who keeps a port from us, for people to read. */
#ifndef LISTEN_PORT_HOLDER_H
#define LISTEN_PORT_HOLDER_H

#include <stdint.h>

#define PORT_HOLDER_SIZE 96

/*
 * "nginx (process 812) listens there", "a connection of curl (process 901) is
 * there", or that nobody is seen who does. Looks at all processes.
 */
void port_holder_describe(uint16_t port, char text[static PORT_HOLDER_SIZE]);

#endif
