// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <errno.h>

#include "base/log.h"

struct redirect_config redirect_config_of(const struct options *options)
{
	return (struct redirect_config){
		.service_port = (uint16_t)options->service_port,
		.listen_port = (uint16_t)options->listen_port,
		.ipv6 = !options->disable_ipv6,
		.interfaces = options->interfaces,
		.interface_count = options->interface_count,
		.namespaces = options->namespaces,
		.namespace_count = options->namespace_count,
		.default_fallback = options->default_fallback,
		.rulespec = options->rulespec,
		.domains = &options->domains,
	};
}

void report_pidfile_error(const char *path, int err)
{
	const char *what = error_text(err);

	switch (err) {
	case -ELOOP:
		what = "is a symbolic link";
		break;
	case -EINVAL:
		what = "holds something else than a process id";
		break;
	case -EPERM:
		what = "belongs to another user";
		break;
	case -EACCES:
		log_error("pidfile %s: permission denied: be root, or name "
			  "another in ACME_ALPN_PROXY_PIDFILE",
			  path);
		return;
	default:
		log_error("pidfile %s: %s (ACME_ALPN_PROXY_PIDFILE names "
			  "another)",
			  path, what);
		return;
	}
	log_error("pidfile %s %s: remove it, or name another in "
		  "ACME_ALPN_PROXY_PIDFILE",
		  path, what);
}
