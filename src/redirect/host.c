// SPDX-License-Identifier: MIT
#include "redirect/host.h"

#include <string.h>

#include "base/address.h"
#include "redirect/bpf/routes.h"

struct search {
	struct in6_addr address;
	bool found;
};

static int compare(const struct host_prefix *prefix, void *context)
{
	struct search *search = context;
	struct in6_addr begin;

	memcpy(&begin, &prefix->address, sizeof(begin));
	search->found |=
		address_begins_with(&search->address, &begin, prefix->length);
	return 0;
}

int host_has_address(const struct sockaddr *address)
{
	struct search search = { .address = address_as_ipv6(address) };
	int err = routes_list_local(compare, &search);

	return err ? err : search.found;
}
