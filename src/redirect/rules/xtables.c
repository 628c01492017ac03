// SPDX-License-Identifier: MIT
#include "redirect/rules/xtables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/spawn.h"

/* How long iptables waits for another that changes the same tables. */
#define LOCK_WAIT_SECONDS "30"
/* Something else may put the rule back whenever we delete it. */
#define MAX_DELETIONS 1000

/* iptables(8) does not list its exit codes; these are xtables.h's. */
enum {
	EXIT_OTHER_PROBLEM = 1,
	EXIT_PARAMETER_PROBLEM = 2,
};

int xtables_find(struct xtables *xtables, sa_family_t family)
{
	const char *name = family == AF_INET ? "iptables" : "ip6tables";

	*xtables = (struct xtables){
		.name = name,
		.family = family,
		.path = spawn_find(name),
	};
	if (xtables->path)
		return 0;
	snprintf(xtables->message, sizeof(xtables->message), "not installed");
	return -ENOENT;
}

const char *xtables_advice(const struct xtables *xtables)
{
	return xtables->family == AF_INET6
		       ? "; ACME_ALPN_PROXY_DISABLEV6=y leaves IPv6 out"
		       : "";
}

int xtables_complain(const struct xtables *xtables, const char *what, int err)
{
	log_error("cannot %s: %s: %s%s", what, xtables->name,
		  xtables->message[0] ? xtables->message : error_text(err),
		  xtables_advice(xtables));
	return err;
}

void xtables_release(struct xtables *xtables)
{
	free(xtables->path);
	xtables->path = NULL;
}

/*
 * Keep the line of @output that says what is wrong: not those that warn of
 * other tables ("# Warning: ..."), without the program's name and version.
 */
static void keep_message(struct xtables *xtables, const char *output)
{
	const char *colon;
	size_t length;

	while (*output == '#' || *output == '\n') {
		output += strcspn(output, "\n");
		output += *output == '\n';
	}
	length = strcspn(output, "\n");
	colon = memmem(output, length, ": ", 2);
	if (colon &&
	    strncmp(output, xtables->name, strlen(xtables->name)) == 0) {
		length -= (size_t)(colon + 2 - output);
		output = colon + 2;
	}
	snprintf(xtables->message, sizeof(xtables->message), "%.*s",
		 (int)length, output);
}

/* The programs tell what went wrong in words alone. */
static int errno_from(int status, const char *output)
{
	if (strstr(output, "Permission denied"))
		return -EPERM;
	return status == EXIT_PARAMETER_PROBLEM ? -EINVAL : -EIO;
}

/*
 * Run "-t @table @action [@chain] [@rule]". Returns the exit status 0 or 1, the
 * latter also for a rule that is not there, or negative errno.
 */
static int run(struct xtables *xtables, const char *table, const char *action,
	       const char *chain, const struct rulespec *rule, char **output)
{
	const char *const first[] = {
		xtables->name, "-w",  LOCK_WAIT_SECONDS, "-t", table,
		action,	       chain,
	};
	const size_t count = ARRAY_SIZE(first) - !chain;
	const size_t words = rule ? rule->count : 0;
	cleanup_free char *said = NULL;
	cleanup_free char **argv = calloc(count + words + 1, sizeof(*argv));
	int status;

	if (!argv)
		return -ENOMEM;
	memcpy(argv, first, count * sizeof(*argv));
	if (rule)
		memcpy(argv + count, rule->words, words * sizeof(*argv));

	status = spawn_wait(xtables->path, argv, &said);
	if (status < 0)
		snprintf(xtables->message, sizeof(xtables->message), "%s",
			 error_text(status));
	else if (status > 0)
		keep_message(xtables, said);
	if (status > EXIT_OTHER_PROBLEM)
		status = errno_from(status, said);
	if (output) {
		*output = said;
		said = NULL;
	}
	return status;
}

int xtables_list(struct xtables *xtables, const char *table, char **rules)
{
	int status = run(xtables, table, "-S", NULL, NULL, rules);

	if (status == 0)
		return 0;
	if (status > 0)
		status = errno_from(status, *rules);
	free(*rules);
	*rules = NULL;
	return status;
}

int xtables_open(struct xtables *xtables, sa_family_t family, const char *table,
		 char **rules)
{
	int err = xtables_find(xtables, family);

	return err ? err : xtables_list(xtables, table, rules);
}

char *xtables_read(sa_family_t family, const char *table)
{
	struct xtables xtables;
	char *rules = NULL;

	xtables_open(&xtables, family, table, &rules);
	xtables_release(&xtables);
	return rules;
}

static int run_rule(struct xtables *xtables, const char *action,
		    const struct rulespec *rule)
{
	return run(xtables, "nat", action, "PREROUTING", rule, NULL);
}

int xtables_has(struct xtables *xtables, const struct rulespec *rule)
{
	int status = run_rule(xtables, "-C", rule);

	return status < 0 ? status : status == 0;
}

/* Of "... -c PACKETS BYTES -j REDIRECT --to-ports PORT". */
static uint64_t redirected_by(const char *rule, uint16_t port)
{
	const char *target = strstr(rule, " --to-ports ");
	const char *count = strstr(rule, " -c ");

	if (!target || !count || strtoul(target + 12, NULL, 10) != port)
		return 0;
	return strtoull(count + 4, NULL, 10);
}

int xtables_count_redirected(struct xtables *xtables, uint16_t port,
			     uint64_t *packets)
{
	char verbose[] = "-v";
	char *words[] = { verbose, NULL };
	const struct rulespec options = { .words = words, .count = 1 };
	cleanup_free char *rules = NULL;
	char *rest, *rule;
	int status = run(xtables, "nat", "-S", "PREROUTING", &options, &rules);

	*packets = 0;
	if (status)
		return status < 0 ? status : -EIO;
	rest = rules;
	while ((rule = strsep(&rest, "\n")))
		*packets += redirected_by(rule, port);
	return 0;
}

int xtables_add(struct xtables *xtables, const struct rulespec *rule,
		bool first)
{
	int status = run_rule(xtables, first ? "-I" : "-A", rule);

	return status > 0 ? -EIO : status;
}

int xtables_delete_all(struct xtables *xtables, const struct rulespec *rule)
{
	for (int i = 0; i < MAX_DELETIONS; i++) {
		int status = run_rule(xtables, "-D", rule);

		if (status != 0)
			return status > 0 ? 0 : status;
	}
	snprintf(xtables->message, sizeof(xtables->message),
		 "the rule comes back whenever it is deleted");
	return -EBUSY;
}
