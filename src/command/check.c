// SPDX-License-Identifier: MIT
/* Will a validation come to the ACME client? Asked before an order is spent. */
#include "command/command.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "command/check_name.h"
#include "command/own_port.h"
#include "instance/pidfile.h"
#include "listen/latecomers.h"
#include "listen/listening.h"
#include "status/report.h"

#define ANSWER_TIMEOUT_MS 1000

#define UNKNOWN                                                           \
	"a CDN or balancer in front, firewalls and NAT outside of this "  \
	"host, what DNS tells others, CAA records; check --serve proves " \
	"the way in"

/* What was logged meanwhile, as one line without the last newline. */
static void read_log(int fd, char *text, size_t size)
{
	ssize_t length = pread(fd, text, size - 1, 0);

	text[length > 0 ? length - 1 : 0] = '\0';
	for (char *end = text; (end = strchr(end, '\n'));)
		*end = ';';
}

/* Everything that start does before it touches anything. */
static const struct redirect_ops *try_start(const struct options *options,
					    int *err)
{
	const struct redirect_config config = redirect_config_of(options);
	struct listeners listeners = LISTENERS_NONE;
	struct redirect *redirect = NULL;
	const struct redirect_ops *ops =
		choose_redirect(options, &config, &redirect);

	*err = ops ? 0 : -EOPNOTSUPP;
	if (!*err) {
		/* One that start takes from another is any for now. */
		bool given =
			latecomers_are_expected(config.listen_port) ||
			own_port_gives_way(options, ops, config.listen_port);

		*err = listeners_open(&listeners, ops->scope,
				      given ? 0 : config.listen_port,
				      config.ipv6);
		log_failure(*err, "cannot listen on port %u",
			    config.listen_port);
	}
	if (!*err)
		*err = ops->open(&config, &listeners, &redirect);
	if (redirect)
		redirect->ops->close(redirect);
	listeners_close(&listeners);
	return ops;
}

/* Which redirect, and why: what start would log goes into the finding. */
static const struct redirect_ops *check_redirect(struct check *check)
{
	const struct options *options = check->options;
	struct finding finding = { .topic = "redirect" };
	const struct log_settings settings = log_settings;
	cleanup_fd int memory = memfd_create("log", MFD_CLOEXEC);
	const struct redirect_ops *ops;
	char logged[768];
	int err;

	log_settings = (struct log_settings){ .fd = memory,
					      .echo_fd = -1,
					      .level = LOG_LEVEL_INFO };
	ops = try_start(options, &err);
	log_settings = settings;
	read_log(memory, logged, sizeof(logged));
	finding.value = ops ? ops->name : NULL;
	finding.verdict = err ? VERDICT_WRONG : VERDICT_WELL;
	if (err)
		findings_tell(&check->findings, &finding, "start fails: %s",
			      logged);
	else
		findings_tell(&check->findings, &finding, "start takes %s: %s",
			      ops->name,
			      *logged ? logged
			      : options->redirect == REDIRECT_AUTOMATIC
				      ? "it works here, and comes first"
				      : "as it is told, and it works here");
	return err ? NULL : ops;
}

/* 0 as soon as one of its addresses answers, or what the last one said. */
static int dial_any(const struct backend *backend)
{
	const uint64_t deadline =
		monotonic_ns() + ANSWER_TIMEOUT_MS * NS_PER_MS;
	int err = -ENOENT;

	for (size_t i = 0; i < backend->count && err; i++)
		err = dial(&backend->addresses[i], deadline);
	return err;
}

/* Visitors that are served today, and would not be; start refuses then. */
static void check_web_server(struct check *check)
{
	const struct options *options = check->options;
	struct finding finding = { .topic = "fallback",
				   .verdict = VERDICT_WRONG,
				   .value = "unreachable" };
	struct backend fallback;
	int err = backend_resolve(options->fallback, &fallback);

	if (!err && (*check->published ||
		     listeners_serve((uint16_t)options->service_port)))
		err = dial_any(&fallback);
	if (err)
		findings_tell(&check->findings, &finding,
			      "start fails: %s, where visitors would go, does "
			      "not answer: %s",
			      options->fallback, error_text(err));
}

static void check_firewall(struct check *check)
{
	const struct options *options = check->options;
	struct finding finding = { .topic = "firewall",
				   .verdict = VERDICT_WRONG,
				   .value = "drops" };
	char rule[RULE_TEXT_SIZE];

	if (input_firewall_drops((uint16_t)options->service_port,
				 !options->disable_ipv6, rule) > 0)
		findings_tell(&check->findings, &finding,
			      "the firewall keeps new connections to port %u "
			      "out: %s",
			      options->service_port, rule);
}

/* What would happen if start were called now. */
static void check_start(struct check *check)
{
	const struct finding forbidden = { .topic = "redirect",
					   .verdict = VERDICT_UNKNOWN };
	const struct redirect_ops *ops;

	if (check->options->redirect != REDIRECT_NONE &&
	    !caps_have(CAP_NET_ADMIN)) {
		findings_tell(&check->findings, &forbidden,
			      "which redirect start takes, root alone can see");
		return;
	}
	ops = check_redirect(check);
	if (ops && ops != &redirect_none && ops != &redirect_handoff)
		check_web_server(check);
	check_firewall(check);
}

static void check_instance(struct check *check)
{
	struct finding finding = { .topic = "instance" };
	struct pidfile_holder holder;
	struct status_report report;
	char path[BACKEND_TEXT_SIZE];
	int err = pidfile_query(check->options->pidfile, &holder);

	if (err || holder.state == PIDFILE_FREE) {
		check_start(check);
		return;
	}
	err = status_socket_path(check->options->pidfile, path, sizeof(path));
	if (!err)
		err = holder.state == PIDFILE_RUNNING
			      ? status_socket_ask(path, &report)
			      : -EAGAIN;
	finding.verdict = err ? VERDICT_UNKNOWN : VERDICT_WELL;
	finding.value = err ? NULL : report.redirect;
	if (err)
		findings_tell(&check->findings, &finding,
			      "process %d, which starts, stops or does not "
			      "answer",
			      holder.pid);
	else
		findings_tell(&check->findings, &finding,
			      "process %d redirects port %u by %s, and "
			      "challenges to %s",
			      holder.pid, report.service_port, report.redirect,
			      report.alpn);
}

static void check_responder(struct check *check)
{
	struct finding finding = { .topic = "responder",
				   .verdict = VERDICT_WELL,
				   .value = "free" };
	const uint64_t deadline =
		monotonic_ns() + ANSWER_TIMEOUT_MS * NS_PER_MS;
	const char *alpn = check->options->alpn;
	char listener[LISTENER_TEXT_SIZE];
	struct backend backend;
	int err = backend_resolve(alpn, &backend);

	if (err) {
		finding.verdict = VERDICT_WRONG;
		finding.value = "unresolved";
		findings_tell(&check->findings, &finding,
			      "-alpn %s: no such host, or no name server",
			      alpn);
		return;
	}
	err = dial(&backend.addresses[0], deadline);
	if (err == -ECONNREFUSED || err == -ENOENT) {
		findings_tell(&check->findings, &finding,
			      "%s is free for the ACME client", alpn);
		return;
	}
	finding.verdict = VERDICT_UNKNOWN;
	finding.value = err ? "silent" : "answered";
	if (err)
		findings_tell(&check->findings, &finding,
			      "%s does not answer: %s", alpn, error_text(err));
	else if (!backend_is_unix(&backend) &&
		 check_listener(&backend.addresses[0], listener))
		findings_tell(&check->findings, &finding,
			      "%s is answered by %s: well if that is the ACME "
			      "client",
			      alpn, listener);
	else
		findings_tell(&check->findings, &finding,
			      "%s is answered: well if by the ACME client",
			      alpn);
}

int command_check(const struct options *options)
{
	struct check check = { .options = options };

	if (options->serve)
		return check_serve(options);
	findings_begin(&check.findings, options->json);
	published_find((uint16_t)options->service_port,
		       (uint16_t)options->listen_port, check.published);
	for (size_t i = 0; i < options->name_count; i++)
		check_name(&check, options->names[i]);
	check_instance(&check);
	check_responder(&check);
	findings_end(&check.findings, UNKNOWN);
	return check.findings.wrong ? EXIT_CODE_FAILED : EXIT_CODE_DONE;
}
