// SPDX-License-Identifier: MIT
#include "command/check_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "listen/listening.h"
#include "redirect/host.h"

#define DIAL_TIMEOUT_MS 2000
/* Of each family; more are not looked at. */
#define MAX_ADDRESSES 16
/* On one port of one host. */
#define MAX_LISTENERS 16

bool check_listener(const struct endpoint *endpoint,
		    char text[static LISTENER_TEXT_SIZE])
{
	struct listening found[MAX_LISTENERS];
	size_t count =
		listening_find(endpoint_port(endpoint), found, MAX_LISTENERS);
	char name[32];
	pid_t pid;

	for (size_t i = 0; i < count && i < MAX_LISTENERS; i++) {
		if (!listening_takes(&found[i], endpoint))
			continue;
		pid = listening_process(&found[i], name, sizeof(name));
		if (pid)
			snprintf(text, LISTENER_TEXT_SIZE, "%s (process %d)",
				 name, pid);
		else
			strcpy(text, "a process that is not to be seen");
		return true;
	}
	return false;
}

/* Where no CA of the internet comes. */
static const struct {
	const char *begins_with;
	/* Of the address as IPv6 has it. */
	unsigned int bits;
	const char *kind;
} inner_networks[] = {
	{ "::ffff:127.0.0.0", 96 + 8, "loopback" },
	{ "::1", 128, "loopback" },
	{ "::ffff:10.0.0.0", 96 + 8, "private" },
	{ "::ffff:172.16.0.0", 96 + 12, "private" },
	{ "::ffff:192.168.0.0", 96 + 16, "private" },
	{ "fc00::", 7, "private" },
};

/* "loopback", "private", or NULL. */
static const char *inner_kind(const struct endpoint *endpoint)
{
	const struct in6_addr address = address_as_ipv6(&endpoint->address.any);
	struct in6_addr begin;

	for (size_t i = 0; i < ARRAY_SIZE(inner_networks); i++) {
		inet_pton(AF_INET6, inner_networks[i].begins_with, &begin);
		if (address_begins_with(&address, &begin,
					inner_networks[i].bits))
			return inner_networks[i].kind;
	}
	return NULL;
}

/* Of this host. Who answers may be a container, by a rule. */
static void tell_own_server(struct check *check, struct finding *finding,
			    const struct endpoint *endpoint, int err)
{
	const uint16_t port = endpoint_port(endpoint);
	char listener[LISTENER_TEXT_SIZE];

	if (*check->published) {
		finding->value = "published";
		findings_tell(&check->findings, finding,
			      "port %u is published by a NAT rule (%s)%s%s",
			      port, check->published,
			      err ? ", and does not answer: " : "",
			      err ? error_text(err) : "");
		return;
	}
	if (check_listener(endpoint, listener)) {
		finding->value = "process";
		findings_tell(&check->findings, finding,
			      "%s serves port %u%s%s", listener, port,
			      err ? ", and does not answer: " : "",
			      err ? error_text(err) : "");
		return;
	}
	finding->verdict = VERDICT_UNKNOWN;
	finding->value = err ? "nobody" : "unknown";
	if (err)
		findings_tell(&check->findings, finding,
			      "nobody serves port %u (%s): only an ACME client "
			      "that is started beside will be met",
			      port, error_text(err));
	else
		findings_tell(&check->findings, finding,
			      "port %u answers, and nobody is seen to listen: "
			      "a rule or program that is not known here",
			      port);
}

/* The CA may be led here all the same, by NAT in front of this host; but not if
 * nobody answers. */
static void tell_other_server(struct check *check, struct finding *finding,
			      const struct endpoint *endpoint, int err)
{
	const unsigned int port = endpoint_port(endpoint);

	finding->verdict = err == -ECONNREFUSED || err == -EHOSTUNREACH ||
					   err == -ETIMEDOUT
				   ? VERDICT_WRONG
				   : VERDICT_UNKNOWN;
	finding->value = err ? "nobody" : "other";
	if (err)
		findings_tell(&check->findings, finding,
			      "port %u does not answer from here: %s", port,
			      error_text(err));
	else
		findings_tell(&check->findings, finding,
			      "port %u answers: another host, or what stands "
			      "before this one",
			      port);
}

/* Whose it is, and whether a CA can come to it; returns whether it is ours. */
static bool tell_owner(struct check *check, struct finding *finding,
		       const struct endpoint *endpoint)
{
	const char *kind = inner_kind(endpoint);
	int own = host_has_address(&endpoint->address.any);

	finding->topic = "address";
	finding->value = own > 0 ? "own" : own == 0 ? "other" : NULL;
	finding->verdict = own > 0 && !kind ? VERDICT_WELL : VERDICT_UNKNOWN;
	if (own > 0 && check->options->disable_ipv6 &&
	    endpoint->address.any.sa_family == AF_INET6) {
		finding->verdict = VERDICT_WRONG;
		findings_tell(&check->findings, finding,
			      "this host's, but IPv6 is left alone "
			      "(ACME_ALPN_PROXY_DISABLEV6), and CAs prefer it");
	} else if (own < 0) {
		findings_tell(&check->findings, finding,
			      "whose it is cannot be told: %s",
			      error_text(own));
	} else {
		findings_tell(&check->findings, finding, "%sthis host's%s%s%s",
			      own ? "" : "not ", kind ? ", and " : "",
			      kind ? kind : "",
			      kind ? ": no CA outside comes there, and DNS may "
				     "tell it another"
				   : "");
	}
	return own > 0;
}

static void check_address(struct check *check, const char *name,
			  const struct endpoint *endpoint)
{
	const uint64_t deadline = monotonic_ns() + DIAL_TIMEOUT_MS * NS_PER_MS;
	char text[INET6_ADDRSTRLEN];
	struct finding finding = {
		.name = name,
		.address = endpoint_host(endpoint, text),
	};
	const bool own = tell_owner(check, &finding, endpoint);
	const int err = dial(endpoint, deadline);

	finding.topic = "server";
	finding.verdict = err ? VERDICT_UNKNOWN : VERDICT_WELL;
	if (own)
		tell_own_server(check, &finding, endpoint, err);
	else
		tell_other_server(check, &finding, endpoint, err);
}

/* Would --domain leave its challenge to the web server? */
static bool is_left_out(const struct options *options, const char *name)
{
	struct domain_list asked = { .count = 0 };

	/* An address is asked for by its name. */
	if (domain_list_add(&asked, name) < 0)
		return true;
	return !domain_list_takes(&options->domains,
				  (const uint8_t *)asked.names[0],
				  strlen(asked.names[0]));
}

/* Returns how many addresses there are, or negative errno (told). */
static int check_family(struct check *check, const char *name, int family)
{
	const struct finding silent = { .verdict = VERDICT_WRONG,
					.topic = "name",
					.name = name,
					.value = "silent" };
	struct endpoint endpoints[MAX_ADDRESSES];
	char port[8];
	int count;

	snprintf(port, sizeof(port), "%u", check->options->service_port);
	count = endpoints_look_up(name, port, family, endpoints, MAX_ADDRESSES);
	if (count == -EAGAIN)
		findings_tell(&check->findings, &silent,
			      "the name server does not answer, or fails, when "
			      "asked for %s records",
			      family == AF_INET ? "A" : "AAAA");
	for (int i = 0; i < count; i++)
		check_address(check, name, &endpoints[i]);
	return count == -ENOENT ? 0 : count;
}

void check_name(struct check *check, const char *name)
{
	struct finding finding = { .verdict = VERDICT_WRONG,
				   .topic = "name",
				   .name = name };
	int ipv4, ipv6;

	if (strchr(name, '*')) {
		finding.value = "wildcard";
		findings_tell(&check->findings, &finding,
			      "a wildcard, for which CAs take DNS-01 alone");
		return;
	}
	if (is_left_out(check->options, name)) {
		finding.value = "left out";
		findings_tell(&check->findings, &finding,
			      "--domain does not name it: its challenge would "
			      "go to the web server");
	}
	ipv4 = check_family(check, name, AF_INET);
	if (ipv4 < 0)
		return;
	ipv6 = check_family(check, name, AF_INET6);
	if (ipv4 || ipv6)
		return;
	finding.value = "none";
	findings_tell(&check->findings, &finding,
		      "no address, neither A nor AAAA");
}
