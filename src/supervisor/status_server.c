// SPDX-License-Identifier: MIT
#include "status_server.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "status_report.h"
#include "support.h"

void status_server_open(struct status_server *server, const char *pidfile)
{
	int fd;

	server->since = time(NULL);
	fd = status_socket_path(pidfile, server->path, sizeof(server->path));
	if (!fd)
		fd = status_socket_open(server->path);
	if (fd < 0) {
		log_warning("status will not tell much: no socket beside %s: "
			    "%s",
			    pidfile, error_text(fd));
		return;
	}
	server->fd = fd;
}

static void fill_counters(const struct proxy_counters *counters,
			  struct status_report *report)
{
	report->confinement = atomic_load(&counters->confinement);
	report->open_connections = atomic_load(&counters->open_connections);
	report->accepted = atomic_load(&counters->accepted);
	report->to_alpn = atomic_load(&counters->to_alpn);
	report->to_fallback = atomic_load(&counters->to_fallback);
	report->hello_timeouts = atomic_load(&counters->hello_timeouts);
	report->alpn_unreachable = atomic_load(&counters->alpn_unreachable);
	report->fallback_unreachable =
		atomic_load(&counters->fallback_unreachable);
	report->resets = atomic_load(&counters->resets);
	report->bytes_from_clients = atomic_load(&counters->bytes_from_clients);
	report->bytes_to_clients = atomic_load(&counters->bytes_to_clients);
	report->accept_pauses = atomic_load(&counters->accept_pauses);
}

void status_server_answer(const struct status_server *server,
			  const struct status_source *source)
{
	const struct supervisor_settings *settings = source->supervisor;
	struct status_report report = {
		.version = STATUS_REPORT_VERSION,
		.size = sizeof(report),
		.pid = getpid(),
		.worker_pid = source->worker_pid,
		.since = server->since,
		.service_port = settings->redirect.service_port,
		.listen_port = settings->redirect.listen_port,
		.ipv4 = source->listeners->ipv4 >= 0,
		.ipv6 = source->listeners->ipv6 >= 0,
	};

	strcpy(report.redirect, settings->ops->name);
	strcpy(report.alpn, settings->proxy.alpn.text);
	strcpy(report.fallback, settings->proxy.fallback.text);
	fill_counters(source->counters, &report);
	if (settings->ops->interfaces)
		report.interface_count = (uint32_t)settings->ops->interfaces(
			source->redirect, report.interfaces,
			STATUS_REPORT_INTERFACES);
	status_socket_answer(server->fd, &report);
}

void status_server_close(struct status_server *server)
{
	if (server->fd < 0)
		return;
	status_socket_remove(server->path);
	close_fd_at(&server->fd);
}
