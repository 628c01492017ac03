/* SPDX-License-Identifier: MIT */
/*
 * Who serves a port on this host, however visitors come there: by a listener,
 * or by a NAT rule as those of container engines.
 */
#ifndef REDIRECT_SERVED_H
#define REDIRECT_SERVED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

struct served {
	/* For a message: the NAT rule, or where somebody listens. */
	char by[320];
	/* Where this host itself finds who serves, as an option takes it; "" if
	 * it does not. */
	char fallback[ENDPOINT_TEXT_SIZE];
};

/*
 * Does anybody serve TCP @port? False also if it cannot be told. Starts nft and
 * iptables, and tries a connection to what they and the kernel name; takes a
 * second at most beside.
 */
bool served_find(uint16_t port, struct served *served);

#endif
