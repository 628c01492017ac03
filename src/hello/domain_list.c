// SPDX-License-Identifier: MIT
#include "hello/domain_list.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* RFC 1035 2.3.4 */
#define LABEL_MAX 63
#define WILDCARD  "*."
#define DIGITS	  "0123456789"
/* The underscore is no host's, but is seen in names all the same. */
#define LABEL_BYTES \
	DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

static bool label_is_valid(const char *label, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!label[i] || !strchr(LABEL_BYTES, label[i]))
			return false;
	}
	return length >= 1 && length <= LABEL_MAX && label[0] != '-' &&
	       label[length - 1] != '-';
}

/* A last label of digits alone is no name but an address that went wrong. */
static bool name_is_valid(const char *name)
{
	size_t length = strcspn(name, ".");

	while (label_is_valid(name, length) && name[length]) {
		name += length + 1;
		length = strcspn(name, ".");
	}
	return label_is_valid(name, length) && strspn(name, DIGITS) < length;
}

static void reverse_ipv4(const struct in_addr *address, char *name, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)address;

	snprintf(name, size, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2],
		 bytes[1], bytes[0]);
}

static void reverse_ipv6(const struct in6_addr *address, char *name,
			 size_t size)
{
	int length = 0;

	for (size_t i = sizeof(address->s6_addr); i-- > 0;)
		length += snprintf(name + length, size - (size_t)length,
				   "%x.%x.", address->s6_addr[i] & 0xf,
				   address->s6_addr[i] >> 4);
	snprintf(name + length, size - (size_t)length, "ip6.arpa");
}

/* Without a period at its end; @name has room for DOMAIN_NAME_MAX bytes and the
 * zero. False if that is not enough. */
static bool copy_bytes(const char *text, size_t length, char *name)
{
	/* Of one that is longer still, the bytes may not even be there. */
	if (length > DOMAIN_NAME_MAX + 1)
		return false;
	if (length > 0 && text[length - 1] == '.')
		length--;
	if (length > DOMAIN_NAME_MAX)
		return false;
	memcpy(name, text, length);
	name[length] = '\0';
	return strlen(name) == length;
}

static int copy_pattern(const char *text, char *name)
{
	size_t wildcard = strlen(WILDCARD);

	if (!copy_bytes(text, strlen(text), name))
		return -EINVAL;
	if (strncmp(name, WILDCARD, wildcard) != 0)
		wildcard = 0;
	return name_is_valid(name + wildcard) ? 0 : -EINVAL;
}

void domain_name_copy(const uint8_t *bytes, size_t length,
		      char name[static DOMAIN_NAME_MAX + 1])
{
	if (!copy_bytes((const char *)bytes, length, name) ||
	    !name_is_valid(name))
		name[0] = '\0';
}

int domain_list_add(struct domain_list *list, const char *text)
{
	const size_t size = sizeof(list->names[0]);
	struct in6_addr ipv6;
	struct in_addr ipv4;
	char *name;
	int err = 0;

	if (list->count == DOMAIN_LIST_MAX)
		return -E2BIG;
	name = list->names[list->count];
	if (inet_pton(AF_INET, text, &ipv4) == 1)
		reverse_ipv4(&ipv4, name, size);
	else if (inet_pton(AF_INET6, text, &ipv6) == 1)
		reverse_ipv6(&ipv6, name, size);
	else
		err = copy_pattern(text, name);
	if (!err)
		list->count++;
	return err;
}

/* What @pattern has in front of @name's first period may be anything that is a
 * label; what is behind must be the same. */
static bool matches(const char *pattern, const char *name, size_t length)
{
	if (strncmp(pattern, WILDCARD, strlen(WILDCARD)) == 0) {
		const char *period = memchr(name, '.', length);
		size_t label = period ? (size_t)(period - name) : length;

		if (!label_is_valid(name, label))
			return false;
		pattern++;
		name += label;
		length -= label;
	}
	/* No zero byte is in the pattern, so that one in the name differs. */
	return strlen(pattern) == length &&
	       strncasecmp(pattern, name, length) == 0;
}

bool domain_list_takes(const struct domain_list *list, const uint8_t *name,
		       size_t length)
{
	if (list->count == 0)
		return true;
	/* Of one that is longer still, the bytes may not even be there. */
	if (length == 0 || length > DOMAIN_NAME_MAX + 1)
		return false;
	if (name[length - 1] == '.')
		length--;
	for (size_t i = 0; i < list->count; i++) {
		if (matches(list->names[i], (const char *)name, length))
			return true;
	}
	return false;
}
