// SPDX-License-Identifier: MIT
#include "instance/recovery.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/netns.h"
#include "instance/record_file.h"
#include "listen/listener.h"
#include "status/report.h"

/*
 * Once the pidfile is released, nobody finds these workers any more: as with
 * any stop, the next start must find the port free.
 */
static void wait_for_port(uint16_t port, unsigned int timeout_ms)
{
	const uint64_t deadline = monotonic_ns() + timeout_ms * NS_PER_MS;

	while (listeners_port_is_taken(LISTENER_ANY, port) &&
	       monotonic_ns() < deadline)
		poll(NULL, 0, 20);
}

static int remove_by(const struct redirect_ops *ops,
		     const struct redirect_config *config)
{
	int err = ops->remove_leftovers(config);

	if (err)
		log_error("cannot remove what a killed instance left (%s): %s",
			  ops->name, error_text(err));
	return err;
}

/* After the rules: until then these workers kept the port alive. */
static void end_workers(const struct recovery *recovery, uint16_t listen_port)
{
	char socket_path[BACKEND_TEXT_SIZE];

	if (status_socket_path(recovery->pidfile->path, socket_path,
			       sizeof(socket_path)) == 0)
		status_socket_remove(socket_path);
	if (pidfile_signal_workers(recovery->pidfile, SIGTERM)) {
		log_info("an instance was killed: its connections drain");
		wait_for_port(listen_port, recovery->timeout_ms);
	}
}

static int recover_by_options(const struct recovery *recovery)
{
	int err = 0;

	if (recovery->with_rules) {
		err = remove_by(&redirect_iptables, recovery->config);
		if (!err)
			err = remove_by(&redirect_steer, recovery->config);
	}
	if (!err)
		end_workers(recovery, recovery->config->listen_port);
	return err;
}

static int remove_recorded(const struct record *record)
{
	const struct redirect_leftovers *made = &record->leftovers;
	const struct redirect_config config = {
		.service_port = record->service_port,
		.listen_port = record->listen_port,
		.rulespec = made->rules[0] ? made->rules[0] : made->rules[1],
	};
	int err = 0;

	if (config.rulespec)
		err = remove_by(&redirect_iptables, &config);
	if (!err && made->filters)
		err = remove_by(&redirect_steer, &config);
	return err;
}

int recovery_undo(const struct record_file *file)
{
	struct record record;
	int err = record_file_read(file, &record);

	if (!err)
		err = remove_recorded(&record);
	record_free(&record);
	if (!err)
		record_file_remove(file);
	return err;
}

/*
 * Where the record was made: 0, with a descriptor of that network namespace in
 * *@there, or -1 if it is ours. -ESTALE: another boot or host; -ENOENT: the
 * namespace is not to be found; or other negative errno.
 */
static int find_place(const struct record *record, int *there)
{
	struct record here = { 0 };
	int err = record_locate(&here);

	*there = -1;
	if (err)
		return err;
	if (strcmp(here.boot, record->boot) != 0)
		return -ESTALE;
	if (netns_is(&here.network, &record->network))
		return 0;
	*there = netns_find(&record->network);
	return *there < 0 ? *there : 0;
}

struct undoing {
	const struct recovery *recovery;
	const struct record *record;
	/* We were there. */
	bool entered;
};

static int undo(void *context)
{
	struct undoing *undoing = context;
	int err = remove_recorded(undoing->record);

	undoing->entered = true;
	if (!err)
		end_workers(undoing->recovery, undoing->record->listen_port);
	return err;
}

static const char *why_not(int err)
{
	switch (err) {
	case -EINVAL:
		return "it is damaged";
	case -EPROTO:
		return "it is another release's";
	case -ESTALE:
		return "it tells of another boot, or of another host";
	case -ENOENT:
		return "its network namespace is not to be found";
	default:
		return error_text(err);
	}
}

/*
 * The state file is of no use, for the reason of @err. Workers that live may
 * have visitors led to them by rules that only the file knows; what is left of
 * an earlier boot cannot be in anybody's way.
 */
static int recover_without(const struct recovery *recovery,
			   const struct record_file *file, int err)
{
	const char *why = why_not(err);
	int result;

	if (pidfile_has_workers(recovery->pidfile)) {
		log_error(
			"cannot follow %s: %s; the workers of a killed "
			"instance go on: undo what it tells of, end them, and "
			"remove it",
			file->path, why);
		return err;
	}
	if (recovery->set_aside) {
		result = record_file_set_aside(file);
		if (result) {
			log_error("cannot set %s aside: %s", file->path,
				  error_text(result));
			return result;
		}
		err = 0;
	}
	log_warning("cannot follow %s%s: %s; what it tells of is left as it is",
		    file->path, recovery->set_aside ? ".old" : "", why);
	result = recover_by_options(recovery);
	return result || err == -ESTALE ? result : err;
}

int recover(const struct recovery *recovery)
{
	struct record_file file;
	struct record record;
	struct undoing undoing = { .recovery = recovery, .record = &record };
	cleanup_fd int there = -1;
	int err;

	err = record_file_name(&file, recovery->pidfile->path);
	if (!err)
		err = record_file_read(&file, &record);
	if (err == -ENOENT)
		return recover_by_options(recovery);
	if (!err)
		err = find_place(&record, &there);
	if (!err)
		err = there < 0 ? undo(&undoing)
				: netns_call(there, undo, &undoing);
	record_free(&record);
	if (err)
		return undoing.entered ? err
				       : recover_without(recovery, &file, err);
	record_file_remove(&file);
	return 0;
}
