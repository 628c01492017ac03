// SPDX-License-Identifier: MIT
#include "redirect/iptables/hold_sweeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "redirect/iptables/conntrack_hold.h"
#include "redirect/rules/xtables.h"

/* Whoever started us may wait for the end of file on what we inherited. */
static void let_go(void)
{
	int null_fd;

	log_settings.fd = -1;
	log_settings.echo_fd = -1;
	close_range(0, ~0U, 0);
	null_fd = open("/dev/null", O_RDWR);
	while (null_fd >= 0 && null_fd < STDERR_FILENO)
		null_fd = dup(null_fd);
}

static void remove_hold(const struct rulespec *rule, sa_family_t family,
			uint16_t listen_port)
{
	struct xtables xtables;

	if (xtables_find(&xtables, family) == 0)
		conntrack_hold_remove(&xtables, rule, listen_port);
	xtables_release(&xtables);
}

__attribute__((noreturn)) static void sweep(const char *name,
					    uint16_t listen_port)
{
	struct rulespec rule;

	let_go();
	if (conntrack_hold_rule(name, &rule) ||
	    conntrack_hold_claim(name) < 0 || conntrack_hold_wait(name) < 0)
		_exit(EXIT_FAILURE);
	nanosleep(&CONNTRACK_HOLD_AFTER_CLOSE, NULL);
	remove_hold(&rule, AF_INET, listen_port);
	remove_hold(&rule, AF_INET6, listen_port);
	_exit(EXIT_SUCCESS);
}

void hold_sweeper_start(const char *name, uint16_t listen_port)
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
