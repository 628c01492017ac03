// SPDX-License-Identifier: MIT
/* --no-redirect: the proxy alone, for a redirect of the user's own. */
#include <errno.h>
#include <stdlib.h>

#include "redirect/redirect.h"

static int none_probe(const struct redirect_config *config,
		      struct redirect **redirect, char *reason,
		      size_t reason_size)
{
	(void)config, (void)reason, (void)reason_size;
	*redirect = NULL;
	return 0;
}

static int none_open(const struct redirect_config *config,
		     const struct listeners *listeners,
		     struct redirect **redirect)
{
	(void)config, (void)listeners;
	*redirect = malloc(sizeof(**redirect));
	if (!*redirect)
		return -ENOMEM;
	**redirect = (struct redirect){ .ops = &redirect_none,
					.event_fd = -1,
					.worker_fd = -1 };
	return 0;
}

static int none_change(struct redirect *redirect)
{
	(void)redirect;
	return 0;
}

static void none_detach(struct redirect *redirect)
{
	(void)redirect;
}

static void none_close(struct redirect *redirect)
{
	free(redirect);
}

const struct redirect_ops redirect_none = {
	.name = "none",
	.scope = LISTENER_LOOPBACK,
	.probe = none_probe,
	.open = none_open,
	.attach = none_change,
	.pause = none_change,
	.detach = none_detach,
	.close = none_close,
};
