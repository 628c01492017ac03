// SPDX-License-Identifier: MIT
#include "redirect/iptables/leftovers.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "redirect/iptables/conntrack_hold.h"
#include "redirect/rules/rule_table.h"
#include "redirect/rules/xtables.h"

static int remove_hold(struct xtables *xtables, const char *name,
		       uint16_t listen_port)
{
	struct rulespec rule;
	int err = conntrack_hold_rule(name, &rule);

	if (err)
		return err;
	err = conntrack_hold_remove(xtables, &rule, listen_port);
	rulespec_free(&rule);
	return err ? xtables_complain(xtables, "delete the conntrack rule", err)
		   : 0;
}

/* The caller may be waiting for the end of file on a descriptor we inherited. */
static void let_go(void)
{
	log_settings.fd = -1;
	log_settings.echo_fd = -1;
	detach_standard_fds(log_settings.fd);
	close_between(STDERR_FILENO + 1, INT_MAX);
}

__attribute__((noreturn)) static void sweep(const char *name,
					    uint16_t listen_port)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	let_go();
	if (conntrack_hold_claim(name) < 0 || conntrack_hold_wait(name) < 0)
		_exit(EXIT_FAILURE);
	nanosleep(&CONNTRACK_HOLD_AFTER_CLOSE, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct xtables xtables;

		if (xtables_find(&xtables, families[i]) == 0)
			remove_hold(&xtables, name, listen_port);
		xtables_release(&xtables);
	}
	_exit(EXIT_SUCCESS);
}

/*
 * Leave a process behind that removes the hold once the killed instance's
 * workers have ended, unless one waits for that already. It is no child of
 * ours and keeps none of our descriptors.
 */
static void start_sweeper(const char *name, uint16_t listen_port)
{
	pid_t child = fork();
	pid_t sweeper;

	if (child < 0) {
		log_warning("an inert rule stays in the nat table: %s",
			    error_text(-errno));
		return;
	}
	if (child == 0) {
		/* Away from the terminal, and then from its parent. */
		setsid();
		sweeper = fork();
		if (sweeper == 0)
			sweep(name, listen_port);
		_exit(sweeper < 0);
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		continue;
}

/*
 * @rules may be out of date: removing a hold that has gone does no harm. A hold
 * whose workers live on keeps their connections working, and goes after them.
 */
static int remove_stale_holds(struct xtables *xtables, const char *rules,
			      uint16_t listen_port)
{
	char name[CONNTRACK_HOLD_NAME_SIZE];
	const char *cursor = NULL;
	int result = 0;

	while (rule_table_next_comment(rules, "PREROUTING",
				       CONNTRACK_HOLD_PREFIX, &cursor, name,
				       sizeof(name)) > 0) {
		int err = 0;

		switch (conntrack_hold_state(name)) {
		case CONNTRACK_HOLD_ABANDONED:
			err = remove_hold(xtables, name, listen_port);
			break;
		case CONNTRACK_HOLD_ORPHANED:
			start_sweeper(name, listen_port);
			break;
		case CONNTRACK_HOLD_OWNED:
			break;
		}
		if (err && !result)
			result = err;
	}
	return result;
}

int leftovers_remove(sa_family_t family, const struct rulespec *rule,
		     uint16_t listen_port)
{
	cleanup_free char *rules = NULL;
	struct xtables xtables;
	int holds = 0;
	int err = 0;

	/* Not installed, or a host without this table: nothing can be left. */
	if (xtables_open(&xtables, family, "nat", &rules) == 0 &&
	    strstr(rules, "-A PREROUTING ")) {
		err = xtables_delete_all(&xtables, rule);
		/* A rule that this family cannot express is not in its table. */
		if (err == -EINVAL)
			err = 0;
		if (err)
			xtables_complain(&xtables,
					 "delete the rule of a killed instance",
					 err);
		holds = remove_stale_holds(&xtables, rules, listen_port);
	}
	xtables_release(&xtables);
	return err ? err : holds;
}
