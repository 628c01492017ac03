// SPDX-License-Identifier: MIT
#include "supervisor/status_server.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "status/report.h"

void status_server_open(struct status_server *server,
			struct status_source source)
{
	const char *pidfile = source.pool->settings->pidfile->path;
	int fd;

	server->source = source;
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

static void fill_workers(const struct worker_pool *pool,
			 struct status_report *report)
{
	_Static_assert(STATUS_REPORT_WORKERS >= WORKER_POOL_MAXIMUM,
		       "the report has room for all workers");

	report->confinement = worker_pool_confinement(pool);
	report->worker_count = pool->count;
	for (unsigned int i = 0; i < pool->count; i++) {
		const struct pool_member *member = &pool->members[i];

		report->workers[i].pid = member->worker.pid;
		proxy_totals_add(&report->workers[i].counted, member->counters);
		if (!report->worker_pid)
			report->worker_pid = member->worker.pid;
	}
}

static void fill(const struct status_server *server,
		 struct status_report *report)
{
	const struct status_source *source = &server->source;
	const struct proxy_environment *proxy = &source->pool->settings->proxy;
	const struct proxy_config *config = proxy->config;

	*report = (struct status_report){
		.version = STATUS_REPORT_VERSION,
		.size = sizeof(*report),
		.pid = getpid(),
		.since = server->since,
		.service_port = source->config->service_port,
		.listen_port = source->config->listen_port,
		.ipv4 = proxy->listeners.ipv4 >= 0,
		.ipv6 = proxy->listeners.ipv6 >= 0,
		.alpn_proxy_protocol = config->alpn.proxy_protocol,
		.fallback_proxy_protocol = config->fallback.proxy_protocol,
	};
	strcpy(report->redirect, source->redirect->ops->name);
	strcpy(report->state.mode, source->redirect->ops->name);
	if (source->redirect->ops->state)
		source->redirect->ops->state(source->redirect, &report->state);
	if (*source->paused) {
		strcpy(report->state.mode, "paused");
		snprintf(report->state.why, sizeof(report->state.why), "%s",
			 source->paused);
	}
	strcpy(report->alpn, config->alpn.text);
	strcpy(report->fallback, config->fallback.text);
	report->totals = worker_pool_totals(source->pool);
	worker_pool_challenges(source->pool, report->challenges);
	fill_workers(source->pool, report);
}

static void send_or_leave(int *watcher, const struct status_report *report)
{
	if (*watcher >= 0 && status_socket_send(*watcher, report) < 0)
		close_fd_at(watcher);
}

void status_server_watch_fds(struct status_server *server,
			     struct pollfd fds[static STATUS_SERVER_FDS])
{
	/* Without a descriptor for who asks, it would be readable for ever:
	 * once, something else or the time must come up first. */
	fds[0] = (struct pollfd){
		.fd = server->refused ? -1 : server->fd,
		.events = POLLIN,
	};
	server->refused = false;
	/* That they hang up is told unasked. */
	for (size_t i = 0; i < STATUS_SERVER_WATCHERS; i++)
		fds[1 + i] = (struct pollfd){ .fd = server->watchers[i] };
}

static void answer(struct status_server *server)
{
	const struct status_source *source = &server->source;
	const struct redirect_ops *ops = source->redirect->ops;
	int *watcher = &server->watchers[server->next_watcher];
	struct status_report report;

	fill(server, &report);
	if (ops->interfaces)
		report.interface_count = (uint32_t)ops->interfaces(
			source->redirect, report.interfaces,
			STATUS_REPORT_INTERFACES);
	close_fd_at(watcher);
	*watcher = status_socket_accept(server->fd);
	server->refused = *watcher < 0;
	send_or_leave(watcher, &report);
	server->next_watcher =
		(server->next_watcher + 1) % STATUS_SERVER_WATCHERS;
}

void status_server_serve(struct status_server *server,
			 const struct pollfd fds[static STATUS_SERVER_FDS])
{
	for (size_t i = 0; i < STATUS_SERVER_WATCHERS; i++)
		if (fds[1 + i].revents)
			close_fd_at(&server->watchers[i]);
	if (fds[0].revents & POLLIN)
		answer(server);
}

void status_server_tell(struct status_server *server, uint32_t left_ms)
{
	struct status_report report;

	fill(server, &report);
	report.drain_left_ms = left_ms;
	for (size_t i = 0; i < STATUS_SERVER_WATCHERS; i++)
		send_or_leave(&server->watchers[i], &report);
}

void status_server_close(struct status_server *server)
{
	if (server->fd < 0)
		return;
	status_socket_remove(server->path);
	close_fd_at(&server->fd);
}

void status_server_leave(struct status_server *server)
{
	for (size_t i = 0; i < STATUS_SERVER_WATCHERS; i++)
		close_fd_at(&server->watchers[i]);
}
