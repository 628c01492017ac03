// SPDX-License-Identifier: MIT
#include "status/report.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

/* The first second that needs a year of five digits. */
#define YEAR_10000 253402300800

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

bool status_report_is_sound(const struct status_report *report)
{
	if (report->version != STATUS_REPORT_VERSION ||
	    report->size != sizeof(*report))
		return false;
	for (size_t i = 0; i < CHALLENGES_KEPT; i++) {
		const struct challenge *challenge = &report->challenges[i];

		if (!is_text(challenge->client, sizeof(challenge->client)) ||
		    !is_text(challenge->server_name,
			     sizeof(challenge->server_name)))
			return false;
	}
	for (size_t i = 0; i < STATUS_REPORT_INTERFACES; i++) {
		const struct redirect_interface *interface =
			&report->interfaces[i];

		if (!is_text(interface->name, sizeof(interface->name)) ||
		    !is_text(interface->attached_by,
			     sizeof(interface->attached_by)))
			return false;
	}
	return report->worker_count <= STATUS_REPORT_WORKERS &&
	       report->since >= 0 && report->since < YEAR_10000 &&
	       is_text(report->redirect, sizeof(report->redirect)) &&
	       is_text(report->alpn, sizeof(report->alpn)) &&
	       is_text(report->fallback, sizeof(report->fallback)) &&
	       report->alpn_proxy_protocol <= PROXY_PROTOCOL_V2 &&
	       report->fallback_proxy_protocol <= PROXY_PROTOCOL_V2;
}

size_t status_report_challenges(const struct status_report *report)
{
	size_t count = 0;

	while (count < CHALLENGES_KEPT && report->challenges[count].taken_ns)
		count++;
	return count;
}

size_t status_report_interfaces(const struct status_report *report)
{
	return report->interface_count < STATUS_REPORT_INTERFACES
		       ? report->interface_count
		       : STATUS_REPORT_INTERFACES;
}

int status_socket_path(const char *pidfile, char *path, size_t size)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path);

	return path_beside(pidfile, ".sock", path, size < most ? size : most);
}

void status_socket_remove(const char *path)
{
	struct stat status;

	if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode))
		unlink(path);
}

int status_socket_open(const char *path)
{
	const struct endpoint socket_file = unix_endpoint(path);
	cleanup_fd int fd = -1;

	status_socket_remove(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* On the socket, so that the file is never open to others. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, &socket_file.address.any, socket_file.length) < 0 ||
	    listen(fd, 16) < 0)
		return -errno;
	return steal_fd(&fd);
}

int status_socket_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int status_socket_send(int fd, const struct status_report *report)
{
	/* It fits the socket's buffer, unless the last ones were not read. */
	ssize_t length = send(fd, report, sizeof(*report), MSG_NOSIGNAL);

	if (length < 0)
		return -errno;
	return length == sizeof(*report) ? 0 : -EAGAIN;
}

/* A socket with a timeout says EAGAIN after it. */
static int time_out_or(int error)
{
	return error == EAGAIN ? -ETIMEDOUT : -error;
}

int status_socket_connect(const char *path)
{
	const struct endpoint socket_file = unix_endpoint(path);
	/* A supervisor that is stopped does not answer, nor takes another from
	 * its queue when that is full. */
	const struct timeval patience = { .tv_sec = 3 };
	cleanup_fd int fd = -1;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* connect(2) keeps to this one (socket(7)). */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, &socket_file.address.any, socket_file.length) < 0)
		return time_out_or(errno);
	return steal_fd(&fd);
}

int status_socket_read(int fd, struct status_report *report)
{
	ssize_t length;

	length = recv(fd, report, sizeof(*report), MSG_WAITALL);
	if (length < 0)
		return time_out_or(errno);
	if (length != sizeof(*report) || !status_report_is_sound(report))
		return -EPROTO;
	return 0;
}

int status_socket_ask(const char *path, struct status_report *report)
{
	cleanup_fd int fd = status_socket_connect(path);

	return fd < 0 ? fd : status_socket_read(fd, report);
}
