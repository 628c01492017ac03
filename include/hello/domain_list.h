/* SPDX-License-Identifier: MIT */
/*
 * Whose challenges are taken: the names that --domain gives.
 *
 * Pure. A validation asks for its identifier in the hello's server name (RFC
 * 8737 3): a DNS name, or an IP address as its name for reverse look-ups
 * (RFC 8738 6).
 */
#ifndef HELLO_DOMAIN_LIST_H
#define HELLO_DOMAIN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many names as Let's Encrypt puts into one certificate. */
#define DOMAIN_LIST_MAX 100
/* A DNS name without the period at its end (RFC 1035 2.3.4). */
#define DOMAIN_NAME_MAX 253

/* Zero-initialised and owned by the caller; holds no memory of its own. */
struct domain_list {
	size_t count;
	/* As they are compared, terminated. */
	char names[DOMAIN_LIST_MAX][DOMAIN_NAME_MAX + 1];
};

/*
 * Add what @text names: a DNS name in ASCII ("xn--..." for others), "*.NAME"
 * for all names with exactly one label more than NAME (RFC 9525 6.3), or an
 * IP address. Returns 0, -EINVAL (none of these) or -E2BIG (one too many).
 */
int domain_list_add(struct domain_list *list, const char *text);

/*
 * The server name of @length bytes, any bytes, as a text: without a period at
 * its end, or "" where it is no DNS name.
 */
void domain_name_copy(const uint8_t *bytes, size_t length,
		      char name[static DOMAIN_NAME_MAX + 1]);

/*
 * Is a challenge for the server name of @length bytes, any bytes, one of
 * those? 0 is a hello without a name; of a name that is longer than any can be
 * no byte is looked at. Case and a period at the end do not matter. An empty
 * list takes every challenge, also those without a name.
 */
bool domain_list_takes(const struct domain_list *list, const uint8_t *name,
		       size_t length);

#endif
