// SPDX-License-Identifier: MIT
#include "redirect/iptables/nat_family.h"

#include <errno.h>
#include <poll.h>

#include "base/log.h"
#include "base/memory.h"
#include "redirect/iptables/conntrack_hold.h"
#include "redirect/iptables/obstacles.h"

/* For the last step of a stop. */
#define HOLD_ATTEMPTS 10
#define HOLD_RETRY_MS 500

int nat_family_open(struct nat_family *family, sa_family_t number,
		    const struct redirect_config *config,
		    const struct rulespec *rule, const struct rulespec *hold)
{
	struct xtables *xtables = &family->xtables;
	cleanup_free char *rules = NULL;
	int err;

	*family = (struct nat_family){ .rule = rule, .hold = hold };
	err = xtables_open(xtables, number, "nat", &rules);
	if (err)
		return xtables_complain(xtables, "redirect", err);

	/* Looks for the rule, and finds its mistakes on the way. */
	err = xtables_has(xtables, rule);
	if (err < 0)
		return xtables_complain(xtables, "use the rule", err);
	family->may_be_there = err > 0;
	return obstacles_check(config, xtables, rules, &family->first);
}

static int add_hold(struct nat_family *family)
{
	/* Its name is new: it cannot be there before the first time. */
	int there = family->was_attached
			    ? xtables_has(&family->xtables, family->hold)
			    : 0;
	int err = there < 0 ? there : 0;

	if (there == 0)
		err = xtables_add(&family->xtables, family->hold, false);
	return err ? xtables_complain(&family->xtables,
				      "keep connections tracked", err)
		   : 0;
}

/* The hold comes first: the rule of a killed instance, which is deleted next,
 * may be the only one that keeps conntrack on. */
int nat_family_attach(struct nat_family *family)
{
	struct xtables *xtables = &family->xtables;
	int err = add_hold(family);

	if (err)
		return err;
	if (family->may_be_there)
		err = xtables_delete_all(xtables, family->rule);
	family->may_be_there = true;
	if (!err)
		err = xtables_add(xtables, family->rule, family->first);
	if (!err) {
		int there = xtables_has(xtables, family->rule);

		err = there > 0 ? 0 : there < 0 ? there : -EIO;
	}
	return err ? xtables_complain(xtables, "redirect", err) : 0;
}

void nat_family_take_back(struct nat_family *family)
{
	struct xtables *xtables = &family->xtables;
	int err = xtables_delete_all(xtables, family->rule);

	if (!err && !family->was_attached)
		err = xtables_delete_all(xtables, family->hold);
	if (err)
		xtables_complain(xtables, "take the redirect back", err);
}

void nat_family_put_back(struct nat_family *family)
{
	if (xtables_has(&family->xtables, family->rule) != 0)
		return;
	log_warning("%s: somebody else has removed our rule: putting it back",
		    family->xtables.name);
	if (nat_family_attach(family))
		nat_family_take_back(family);
}

void nat_family_keep_hold(struct nat_family *family)
{
	if (!family->was_attached ||
	    xtables_has(&family->xtables, family->hold) != 0)
		return;
	log_warning("%s: somebody else has removed the rule that open "
		    "connections need: putting it back",
		    family->xtables.name);
	add_hold(family);
}

int nat_family_pause(struct nat_family *family)
{
	struct xtables *xtables = &family->xtables;
	int err = add_hold(family);

	if (err)
		return err;
	/* The kernel may not have told us before. The log should show why a
	 * validation did not reach the ACME client. */
	if (family->was_attached && xtables_has(xtables, family->rule) == 0)
		log_warning("%s: somebody else has removed our rule; new "
			    "connections went to the web server since",
			    xtables->name);
	err = xtables_delete_all(xtables, family->rule);
	if (!err) {
		int there = xtables_has(xtables, family->rule);

		err = there > 0 ? -EBUSY : there;
	}
	return err ? xtables_complain(xtables, "end the redirect", err) : 0;
}

/* No later step would remove the hold, so try again if the host is out of
 * processes or descriptors for a moment. */
void nat_family_close(struct nat_family *family, uint16_t listen_port)
{
	int err = family->was_attached ? -EAGAIN : 0;

	for (int attempt = 0; err && attempt < HOLD_ATTEMPTS; attempt++) {
		if (attempt)
			poll(NULL, 0, HOLD_RETRY_MS);
		err = conntrack_hold_remove(&family->xtables, family->hold,
					    listen_port);
	}
	if (err)
		xtables_complain(&family->xtables, "delete the conntrack rule",
				 err);
	xtables_release(&family->xtables);
}
