// SPDX-License-Identifier: MIT
#include "redirect/host.h"

#include <arpa/inet.h>
#include <string.h>

#include "redirect/bpf/routes.h"

struct search {
	struct host_address address;
	bool found;
};

static bool begins_with(const struct host_address *address,
			const struct host_prefix *prefix)
{
	for (size_t i = 0; i < HOST_ADDRESS_BITS; i += 32) {
		uint32_t bits = prefix->length > i ? prefix->length - i : 0;
		uint32_t mask = bits >= 32 ? ~0U : ~(~0U >> bits);

		if ((address->words[i / 32] ^ prefix->address.words[i / 32]) &
		    htonl(mask))
			return false;
	}
	return true;
}

static int compare(const struct host_prefix *prefix, void *context)
{
	struct search *search = context;

	search->found |= begins_with(&search->address, prefix);
	return 0;
}

int host_has_address(const struct sockaddr *address)
{
	const struct sockaddr_in *ipv4 = (const void *)address;
	const struct sockaddr_in6 *ipv6 = (const void *)address;
	struct search search = { .found = false };
	int err;

	/* An IPv4 address is kept as it is mapped to IPv6. */
	if (address->sa_family == AF_INET) {
		search.address.words[2] = htonl(0xffff);
		search.address.words[3] = ipv4->sin_addr.s_addr;
	} else {
		memcpy(&search.address, &ipv6->sin6_addr,
		       sizeof(search.address));
	}
	err = routes_list_local(compare, &search);
	return err ? err : search.found;
}
