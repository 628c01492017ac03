// SPDX-License-Identifier: MIT
#include "instance/recovery.h"

#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "listen/listener.h"
#include "status/report.h"

/*
 * Once the pidfile is released, nobody finds these workers any more: as with
 * any stop, the next start must find the port free.
 */
static void wait_for_port(uint16_t port, unsigned int timeout_ms)
{
	const uint64_t deadline = monotonic_ns() + timeout_ms * NS_PER_MS;

	while (listeners_port_is_taken(port) && monotonic_ns() < deadline)
		poll(NULL, 0, 20);
}

int recover(const struct redirect_config *config, const struct pidfile *pidfile,
	    bool with_rules, unsigned int timeout_ms)
{
	static const struct redirect_ops *const strategies[] = {
		&redirect_iptables,
		&redirect_steer,
	};
	char socket_path[BACKEND_TEXT_SIZE];
	unsigned int workers;
	int result = 0;
	int err;

	for (size_t i = 0; with_rules && i < ARRAY_SIZE(strategies); i++) {
		err = strategies[i]->remove_leftovers(config);
		if (err) {
			log_error("cannot remove what a killed instance left "
				  "(%s): %s",
				  strategies[i]->name, error_text(err));
			result = err;
		}
	}
	if (result)
		return result;

	if (status_socket_path(pidfile->path, socket_path,
			       sizeof(socket_path)) == 0)
		status_socket_remove(socket_path);

	/* After the rules: until now these workers kept the port alive. */
	workers = pidfile_signal_workers(pidfile, SIGTERM);
	if (workers) {
		log_info("an instance was killed: its connections drain");
		wait_for_port(config->listen_port, timeout_ms);
	}
	return 0;
}
