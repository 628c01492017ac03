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
	return log_failure(ops->remove_leftovers(config),
			   "cannot remove what a killed instance left (%s)",
			   ops->name);
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

/* Call @function in that network namespace. -ENOENT: it is not to be found. */
static int call_in(const struct netns_id *id, int (*function)(void *context),
		   void *context)
{
	struct netns_id own;
	cleanup_fd int there = -1;
	int err = netns_own(&own);

	if (err)
		return err;
	if (netns_is(&own, id))
		return function(context);
	there = netns_find(id);
	return there < 0 ? there : netns_call(there, function, context);
}

struct undoing {
	const struct record *record;
	/* NULL: what is undone is our own. */
	const struct recovery *recovery;
	struct redirect_config config;
	/* We were where it was made. */
	bool entered;
};

static int remove_filters(void *context)
{
	const struct undoing *undoing = context;

	return remove_by(&redirect_steer, &undoing->config);
}

static int undo_here(void *context)
{
	struct undoing *undoing = context;
	int err = 0;

	undoing->entered = true;
	if (undoing->config.rulespec)
		err = remove_by(&redirect_iptables, &undoing->config);
	if (!err && undoing->record->leftovers.filters)
		err = remove_filters(undoing);
	if (!err && undoing->recovery)
		end_workers(undoing->recovery, undoing->record->listen_port);
	return err;
}

static int undo(struct undoing *undoing)
{
	const struct redirect_leftovers *made = &undoing->record->leftovers;

	undoing->config = (struct redirect_config){
		.service_port = undoing->record->service_port,
		.listen_port = undoing->record->listen_port,
		.rulespec = made->rules[0] ? made->rules[0] : made->rules[1],
	};
	/* Filters there let all pass without us, and go with a namespace that
	 * is gone. */
	for (size_t i = 0; i < made->place_count; i++)
		call_in(&made->places[i], remove_filters, undoing);
	return call_in(&undoing->record->network, undo_here, undoing);
}

int recovery_undo(const struct record_file *file)
{
	struct record record;
	struct undoing undoing = { .record = &record };
	int err = record_file_read(file, &record);

	if (!err)
		err = undo(&undoing);
	record_free(&record);
	if (!err)
		record_file_remove(file);
	return err;
}

/* 0; -ESTALE: it tells of another boot or host; or other negative errno. */
static int check_boot(const struct record *record)
{
	struct record here = { 0 };
	int err = record_locate(&here);

	if (err)
		return err;
	return strcmp(here.boot, record->boot) == 0 ? 0 : -ESTALE;
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
		err = log_failure(record_file_set_aside(file),
				  "cannot set %s aside", file->path);
		if (err)
			return err;
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
	struct undoing undoing = { .record = &record, .recovery = recovery };
	int err;

	err = record_file_name(&file, recovery->pidfile->path);
	if (err)
		return log_failure(err, "%s", recovery->pidfile->path);
	record_file_remove_unfinished(&file);
	err = record_file_read(&file, &record);
	if (err == -ENOENT)
		return recover_by_options(recovery);
	/* Ours, not the file's. */
	if (err == -EMFILE || err == -ENFILE || err == -ENOMEM)
		return log_failure(err, "cannot read %s", file.path);
	if (!err)
		err = check_boot(&record);
	if (!err)
		err = undo(&undoing);
	record_free(&record);
	if (err)
		return undoing.entered ? err
				       : recover_without(recovery, &file, err);
	record_file_remove(&file);
	return 0;
}
