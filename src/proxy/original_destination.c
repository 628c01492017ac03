// SPDX-License-Identifier: MIT
#include "proxy/original_destination.h"

#include <netinet/in.h>

/* The same number as IP6T_SO_ORIGINAL_DST: linux/netfilter_ipv4.h and
 * linux/netfilter_ipv6/ip6_tables.h. */
#define ORIGINAL_DESTINATION 80

struct endpoint original_destination(int fd, sa_family_t family)
{
	struct endpoint found = { .length = sizeof(found.address) };

	if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       ORIGINAL_DESTINATION, &found.address,
		       &found.length) == 0)
		return found;
	found.length = sizeof(found.address);
	if (getsockname(fd, &found.address.any, &found.length) != 0)
		found.address.any.sa_family = AF_UNSPEC;
	return found;
}
