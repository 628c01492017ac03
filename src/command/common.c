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
		.past_firewall = options->past_firewall,
		.rulespec = options->rulespec,
	};
}

void report_pidfile_error(const char *path, int negative_errno)
{
	switch (negative_errno) {
	case -ELOOP:
		log_error("pidfile %s is a symbolic link: remove it, or name "
			  "another in ACME_ALPN_PROXY_PIDFILE",
			  path);
		break;
	case -EINVAL:
		log_error("pidfile %s holds something else than a process id: "
			  "remove it, or name another in "
			  "ACME_ALPN_PROXY_PIDFILE",
			  path);
		break;
	case -EPERM:
		log_error("pidfile %s belongs to another user: remove it, or "
			  "name another in ACME_ALPN_PROXY_PIDFILE",
			  path);
		break;
	case -EACCES:
		log_error("pidfile %s: permission denied: be root, or name "
			  "another in ACME_ALPN_PROXY_PIDFILE",
			  path);
		break;
	default:
		log_error("pidfile %s: %s (ACME_ALPN_PROXY_PIDFILE names "
			  "another)",
			  path, error_text(negative_errno));
	}
}
