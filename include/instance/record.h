/* SPDX-License-Identifier: MIT */
/*
 * What an instance makes on the host, as the text of its state file: a line for
 * each thing, for whoever undoes it if the instance is killed.
 *
 *   acme-alpn-proxy state 1
 *   boot 7e1f5cb2-0e46-4c1f-9a57-0d9e5f4e2b11
 *   network 4:4026531840
 *   redirect iptables
 *   port 443
 *   listen 21443
 *   rule iptables -p tcp --dport 443 ... -j REDIRECT --to-ports 21443
 *   rule ip6tables -p tcp --dport 443 ... -j REDIRECT --to-ports 21443
 *   hold acme-alpn-proxy hold 812-1f2e3d4c
 *   filters 0x0a1c53c3
 *   filters in 4:4026532233
 *   end 3b0e7a21
 *
 * The rules and the hold stand in the PREROUTING chain of the nat table;
 * filters of that handle at TC ingress, in other network namespaces too. Of
 * these lines there are those that apply. The last one has a sum of all before
 * it. \xNN is a byte that would break a line.
 *
 * Pure: no I/O.
 */
#ifndef INSTANCE_RECORD_H
#define INSTANCE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/netns.h"
#include "redirect/redirect.h"

struct record {
	/* Of the kernel's run (/proc/sys/kernel/random/boot_id). */
	char boot[40];
	struct netns_id network;
	/* What it is called; and the ports, in host byte order. */
	char redirect[16];
	uint16_t service_port;
	uint16_t listen_port;
	struct redirect_leftovers leftovers;
	/* What the strings above are in, if record_parse() made it. */
	char *text;
};

/* A new string in *@text, which the caller frees. 0 or -ENOMEM. */
int record_format(const struct record *record, char **text);

/*
 * Read @length bytes that record_format() has written. Returns 0, and
 * record_free() is due; -EPROTO: another version's; -EINVAL: anything else;
 * -ENOMEM.
 */
int record_parse(const char *text, size_t length, struct record *record);

/* Safe on a zeroed one and twice. */
void record_free(struct record *record);

#endif
