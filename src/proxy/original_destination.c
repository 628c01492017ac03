// SPDX-License-Identifier: MIT
#include "proxy/original_destination.h"

#include <netinet/in.h>

/* The same number as IP6T_SO_ORIGINAL_DST: linux/netfilter_ipv4.h and
 * linux/netfilter_ipv6/ip6_tables.h. */
#define ORIGINAL_DESTINATION 80

void original_destination(int fd, sa_family_t family,
			  struct sockaddr_storage *destination)
{
	socklen_t size = sizeof(*destination);

	if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       ORIGINAL_DESTINATION, destination, &size) == 0)
		return;
	size = sizeof(*destination);
	if (getsockname(fd, (struct sockaddr *)destination, &size) != 0)
		destination->ss_family = AF_UNSPEC;
}
