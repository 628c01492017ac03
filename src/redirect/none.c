// SPDX-License-Identifier: MIT
/* --no-redirect: the proxy alone, for a redirect of the user's own. */
#include <errno.h>
#include <stdlib.h>

#include "listen/latecomers.h"
#include "redirect/redirect.h"

struct none_redirect {
	struct redirect redirect;
	uint16_t listen_port;
};

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
	struct none_redirect *self = malloc(sizeof(*self));

	(void)listeners;
	*redirect = (struct redirect *)self;
	if (!self)
		return -ENOMEM;
	*self = (struct none_redirect){
		.redirect = { .ops = &redirect_none,
			      .event_fd = -1,
			      .worker_fd = -1 },
		.listen_port = config->listen_port,
	};
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

static bool none_has_latecomers(const struct redirect *redirect)
{
	const struct none_redirect *self =
		(const struct none_redirect *)redirect;

	return latecomers_exist(self->listen_port, NULL, NULL);
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
	.has_latecomers = none_has_latecomers,
};
