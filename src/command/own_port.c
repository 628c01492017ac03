// SPDX-License-Identifier: MIT
#include "command/own_port.h"

#include <errno.h>

#include "base/log.h"
#include "command/command.h"
#include "listen/latecomers.h"
#include "listen/listening.h"

static bool is_port_of(const struct backend *backend, uint16_t port)
{
	return !backend_is_unix(backend) &&
	       endpoint_port(&backend->addresses[0]) == port;
}

static bool is_free(const struct supervisor_settings *settings, uint16_t port)
{
	return !listeners_port_is_taken(settings->ops->scope, port) &&
	       port != settings->redirect.service_port &&
	       !is_port_of(&settings->proxy.alpn, port) &&
	       !is_port_of(&settings->proxy.fallback, port);
}

bool own_port_gives_way(const struct options *options,
			const struct redirect_ops *ops, uint16_t port)
{
	return options->any_listen_port && !options->rulespec &&
	       ops != &redirect_none &&
	       listeners_port_is_taken(ops->scope, port) &&
	       (ops->spares_visitors || !listeners_serve(port));
}

int own_port_choose(const struct options *options,
		    struct supervisor_settings *settings)
{
	uint16_t *const port = &settings->redirect.listen_port;
	const uint16_t usual = *port;
	char holder[LISTENING_HOLDER_SIZE];

	/* An instance that drains may listen on, and leaves now. */
	if (listeners_port_is_taken(settings->ops->scope, usual))
		latecomers_turn_away(usual);
	if (!own_port_gives_way(options, settings->ops, usual))
		return 0;
	while (*port < UINT16_MAX && !is_free(settings, *port))
		++*port;
	listening_describe_holder(usual, holder);
	log_warning("port %u is taken (%s): the proxy listens on port %u",
		    usual, holder, *port);
	/* What was made for the one port does not do for the other. */
	if (settings->probed)
		settings->probed->ops->close(settings->probed);
	settings->probed = NULL;
	settings->ops = choose_redirect(options, &settings->redirect,
					&settings->probed);
	return settings->ops ? 0 : -EOPNOTSUPP;
}

/* A visitor would go round for ever. */
static int check_loop(const char *option, const struct backend *backend,
		      const struct supervisor_settings *settings)
{
	const uint16_t port = settings->redirect.listen_port;

	for (size_t i = 0; i < backend->count; i++) {
		if (!listeners_are_at(settings->ops->scope, port,
				      &backend->addresses[i]))
			continue;
		log_error("-%s %s leads back to the proxy, whose own port is "
			  "%u: name where the server listens, or choose "
			  "another port with --listen",
			  option, backend->text, port);
		return -ELOOP;
	}
	return 0;
}

int own_port_check_backends(const struct supervisor_settings *settings)
{
	int err = check_loop("alpn", &settings->proxy.alpn, settings);

	return err ? err
		   : check_loop("fallback", &settings->proxy.fallback,
				settings);
}
