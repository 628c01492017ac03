/* SPDX-License-Identifier: MIT */
/* Where a client thinks that it is connected to. */
#ifndef PROXY_ORIGINAL_DESTINATION_H
#define PROXY_ORIGINAL_DESTINATION_H

#include <sys/socket.h>

#include "base/address.h"

/*
 * The address and port that the connection accepted as @fd was made to: what
 * conntrack remembers, where there is such an entry and so perhaps a rule that
 * redirects; else the socket's own. AF_UNSPEC if neither can be told.
 */
struct endpoint original_destination(int fd, sa_family_t family);

#endif
