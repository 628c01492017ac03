/* SPDX-License-Identifier: MIT */
/*
 * The redirect half: how new flows to port 443 reach the listeners.
 *
 * A redirect is a replaceable strategy. Its life, in this order:
 *
 *   open    load what is needed; not a packet is touched yet
 *   attach  new flows go to the listeners (verified before it returns)
 *   pause   new flows go to the web server again (verified); handshakes that
 *           are under way still complete on the listeners. attach resumes.
 *   detach  after the grace period: nothing of it stays in the packets' way
 *   close   after the last relayed connection has ended; frees
 *
 * Every step leaves the host as it was if it fails, has said why through
 * log_error(), and returns negative errno.
 */
#ifndef REDIRECT_REDIRECT_H
#define REDIRECT_REDIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/netns.h"
#include "listen/listener.h"

struct domain_list;

struct redirect_config {
	/* Host byte order: the public port (443) and the proxy's (21443). */
	uint16_t service_port;
	uint16_t listen_port;
	/* ACME_ALPN_PROXY_DISABLEV6 unset, and the host has IPv6. */
	bool ipv6;
	/* fnmatch(3) patterns of --interface; none means all that fit. */
	const char *const *interfaces;
	size_t interface_count;
	/* --netns: PIDs of processes in network namespaces that have the
	 * service, or names of such namespaces. */
	const char *const *namespaces;
	size_t namespace_count;
	/* Nobody has said where visitors go that come to the proxy. */
	bool default_fallback;
	/* ACME_ALPN_PROXY_RULESPEC, or NULL for the default rule. */
	const char *rulespec;
	/* Whose challenges are taken where a redirect can choose; NULL or an
	 * empty list: all. */
	const struct domain_list *domains;
	/* The descriptor of a lease (redirect.lease) that is another
	 * redirect's as well; 0 for one of its own. */
	int lease_fd;
	/* Filled in by the supervisor before open(), as all below; what they
	 * are called with. */
	void *context;
	/*
	 * Give a connected socket to a worker, which takes it as if it had
	 * accepted it. @fd stays the redirect's. 0, or negative errno: no
	 * worker can take it now.
	 */
	int (*hand_over)(void *context, int fd);
	/*
	 * May visitors be proxied now? A worker connects to the fallback as for
	 * a visitor, which takes less than a second, but at start may take ten
	 * on a busy machine. 0, also where nobody is served
	 * today; or negative errno with which it was turned away, in words in
	 * @why.
	 */
	int (*prove)(void *context, char *why, size_t size);
	/* Write down what leftovers() tells, before more of it is made than at
	 * attach(). 0 or negative errno (logged). */
	int (*record)(void *context);
};

/*
 * What became of packets for the service port, as each program counts it (enum
 * handoff_verdict, steer_verdict): X(name, verdict, text). All that tells of it
 * is made from this; the manual has the same list, and says what is meant.
 */
#define HANDOFF_COUNTERS(X)                                              \
	X(hellos, HANDOFF_SEEN, "hellos seen")                           \
	X(visitors, HANDOFF_ORDINARY, "passed as visitors'")             \
	X(undecided, HANDOFF_UNDECIDED, "undecided yet")                 \
	X(taken, HANDOFF_TAKEN, "challenges taken")                      \
	X(other_name, HANDOFF_OTHER_NAME, "not taken: other name")       \
	X(not_taking, HANDOFF_NOT_TAKING, "not taken: paused")           \
	X(no_socket, HANDOFF_NO_SOCKET, "not taken: no socket here")     \
	X(unfit_socket, HANDOFF_UNFIT_SOCKET, "not taken: socket unfit") \
	X(limited, HANDOFF_LIMITED, "not taken: too many")               \
	X(damaged, HANDOFF_DAMAGED, "not taken: damaged")                \
	X(no_room, HANDOFF_NO_ROOM, "not taken: no room")                \
	X(too_long, HANDOFF_TOO_LONG, "not looked at: too long")         \
	X(left_alone, HANDOFF_LEFT_ALONE, "left alone after a failure")
#define STEER_COUNTERS(X)                                      \
	X(steered, STEER_STEERED, "steered")                   \
	X(cookies, STEER_COOKIE, "SYN cookies")                \
	X(not_local, STEER_NOT_LOCAL, "not local")             \
	X(not_steering, STEER_NOT_STEERING, "not steering")    \
	X(existing_flow, STEER_EXISTING_FLOW, "existing flow") \
	X(unanswered, STEER_UNANSWERED, "unanswered")          \
	X(refused, STEER_REFUSED, "refused")
#define REDIRECT_COUNTERS(X) HANDOFF_COUNTERS(X) STEER_COUNTERS(X)

/* iptables and ip6tables. */
#define REDIRECT_FAMILIES 2
/* Network namespaces in which one can be at a time. */
#define REDIRECT_PLACES 64

/* What attach() makes that stays if all processes are killed. */
struct redirect_leftovers {
	/* In PREROUTING of each family's nat table, as rulespec_split() takes
	 * them; NULL for none. */
	const char *rules[REDIRECT_FAMILIES];
	/* The comment of the rule beside them that does nothing
	 * (conntrack_hold.h), or NULL. */
	const char *hold;
	/* The handle of filters at TC ingress (tc_handle()), or 0; and the
	 * other network namespaces that have such filters too. */
	uint32_t filters;
	struct netns_id places[REDIRECT_PLACES];
	size_t place_count;
};

/* Where a redirect is attached, and what it counted there. */
struct redirect_interface {
	/* "eth0", or "eth0 in NAME" of another network namespace. */
	char name[64];
	/* "tcx" or "clsact" */
	char attached_by[8];
	uint32_t ifindex;
#define REDIRECT_COUNTER(name, ...) uint64_t name;
	REDIRECT_COUNTERS(REDIRECT_COUNTER)
#undef REDIRECT_COUNTER
};

/*
 * Challenges that were given to a worker as sockets: X(name, kind, unit, help)
 * as in proxy/counters.h. The time is that from the segment on.
 */
#define REDIRECT_MOVES(X)                                         \
	X(moved, counter, "challenges", "challenges handed over") \
	X(move_failed, counter, "challenges",                     \
	  "challenges that could not be handed over")             \
	X(move_last_ns, gauge, "nanoseconds",                     \
	  "ns to hand over the last challenge")                   \
	X(move_worst_ns, gauge, "nanoseconds",                    \
	  "ns to hand over the slowest challenge")

/* How a redirect is doing as a whole. */
struct redirect_state {
	/* What it does now: one of the names of redirect_ops. */
	char mode[16];
	/* Why it is not doing something better; empty if it is. */
	char why[192];
#define REDIRECT_MOVE(name, ...) uint64_t name;
	REDIRECT_MOVES(REDIRECT_MOVE)
#undef REDIRECT_MOVE
};

/* Each strategy's own state begins with this; filled in once open() is done. */
struct redirect {
	const struct redirect_ops *ops;
	/* Readable when what the redirect depends on changes (interfaces,
	 * rules), or -1. */
	int event_fd;
	/* To be kept open by each worker, so that others can tell whether
	 * connections are left of a killed instance; or -1. */
	int worker_fd;
	/*
	 * NULL, or the shared word that keeps steering alive: the program
	 * steers only while its clock, which is right to the tick, is below it.
	 * Each worker that is well renews it, so that the port opens to the web
	 * server by itself when all are dead, stopped or hung, whatever became
	 * of the supervisor.
	 */
	volatile uint64_t *lease;
	/* Visitors come to the proxy, or will once this is attached: then it is
	 * proved before that they are served, and it is paused where they are
	 * not. May change from attach to close. */
	bool proxies_visitors;
};

struct redirect_ops {
	/* "handoff", "steer", "iptables", "none" */
	const char *name;
	enum listener_scope scope;
	/* Visitors stay with the web server: none may be in the middle of a
	 * handshake with us, unless redirect->proxies_visitors. Otherwise stop
	 * waits for them. */
	bool spares_visitors;

	/*
	 * Can this host do it at all? 0, or negative errno with one line in
	 * @reason that says what is missing. Changes nothing, except that the
	 * kernel may load modules. What had to be made to find out is left in
	 * @redirect, else NULL: for open(), or close().
	 */
	int (*probe)(const struct redirect_config *config,
		     struct redirect **redirect, char *reason,
		     size_t reason_size);

	/*
	 * Is there something at this moment that keeps it from working? As
	 * probe() in what it returns; what an instance that was killed has left
	 * counts, and is gone when open() asks the same. May be NULL: nothing.
	 */
	int (*find_obstacle)(const struct redirect_config *config, char *reason,
			     size_t reason_size);

	/*
	 * After a probe() of the same @config, with what it left in @redirect.
	 * Both @config and @listeners must outlive the redirect. 0, or negative
	 * errno: what is in @redirect then is for close(), if it is not NULL.
	 */
	int (*open)(const struct redirect_config *config,
		    const struct listeners *listeners,
		    struct redirect **redirect);
	/*
	 * NULL where there are none, or fill in what attach() will make, and
	 * what it has made since; valid from open() to close().
	 */
	void (*leftovers)(const struct redirect *redirect,
			  struct redirect_leftovers *leftovers);
	int (*attach)(struct redirect *redirect);
	int (*pause)(struct redirect *redirect);
	void (*detach)(struct redirect *redirect);
	void (*close)(struct redirect *redirect);

	/* NULL, or what to do when redirect->event_fd is readable, and every
	 * second or so, from attach to close. */
	int (*handle_event)(struct redirect *redirect);

	/*
	 * NULL, or what is called twice a second and more between attach and
	 * stop, with whether any worker is @well: for a redirect that needs the
	 * supervisor to be alive as well.
	 */
	void (*renew)(struct redirect *redirect, bool well);

	/* NULL, or how it is doing; else it does what its name says. */
	void (*state)(const struct redirect *redirect,
		      struct redirect_state *state);

	/* Does the kernel see visitors in the middle of a handshake with us?
	 * Their packets find the listeners after detach(), too. NULL: the
	 * handshakes at the listeners' own port are all there are. */
	bool (*has_latecomers)(const struct redirect *redirect);

	/*
	 * NULL, or how many connections it has led to the listeners so far, as
	 * far as it can tell: first packets, those sent again included. It may
	 * take as long as a program that is started for it.
	 */
	uint64_t (*led)(struct redirect *redirect);

	/*
	 * Fill in the first @most of @interfaces and return how many there
	 * are. NULL where there are none.
	 */
	size_t (*interfaces)(const struct redirect *redirect,
			     struct redirect_interface *interfaces,
			     size_t most);

	/*
	 * NULL where nothing is left, or another redirect removes it as well.
	 * Remove what an instance with the same ports and rule left when it was
	 * killed, in the network namespace that we are in. 0 if nothing is left
	 * now that a new flow could meet, negative errno if something is.
	 * Silent where the mechanism is not there at all.
	 */
	int (*remove_leftovers)(const struct redirect_config *config);
};

/* Looks at all, and takes the challenges away from the web server's sockets. */
extern const struct redirect_ops redirect_handoff;
/* Gives all new flows to the listeners, by BPF and by iptables. */
extern const struct redirect_ops redirect_steer;
extern const struct redirect_ops redirect_iptables;
/* For a redirect of the user's own. */
extern const struct redirect_ops redirect_none;

#endif
