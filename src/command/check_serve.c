// SPDX-License-Identifier: MIT
#include "command/check_name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/spawn.h"
#include "command/command.h"
#include "command/print.h"
#include "hello/domain_list.h"
#include "supervisor/privileges.h"

#define DEFAULT_WAIT_MS 300000
/* For openssl to listen. */
#define READY_MS 10000
/* Where openssl finds the certificate. */
#define CERTIFICATE_FILENO 3
#define CERTIFICATE_PATH   "/proc/self/fd/3"
/* What openssl says; of more the end is kept. */
#define OUTPUT_SIZE 8192
/* RFC 8737 3: a SHA-256 in an octet string. */
#define DIGEST_SIZE 32

struct proof {
	const struct options *options;
	/* Of the openssl program. */
	char *openssl;
	/* Memory with the certificate and its key. */
	int certificate;
	/* Whom openssl becomes, which reads strangers' bytes. */
	uid_t uid;
	gid_t gid;
	/* What the certificate is called. */
	char subject[64];
	/* openssl s_server: the end of its input and its output. */
	pid_t responder;
	int input;
	int output;
	char said[OUTPUT_SIZE];
	size_t length;
};

static void to_hex(const uint8_t *bytes, size_t count, char *text)
{
	for (size_t i = 0; i < count; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
}

/* In memory, so that the key is on no disk. */
static int keep(struct proof *proof, const char *text)
{
	const ssize_t length = (ssize_t)strlen(text);

	proof->certificate = memfd_create("certificate", MFD_CLOEXEC);
	if (proof->certificate < 0 ||
	    write(proof->certificate, text, (size_t)length) != length) {
		log_error("cannot keep the certificate");
		return -EIO;
	}
	return 0;
}

/* As RFC 8737 3 wants it, signed by itself. */
static int make_certificate(struct proof *proof)
{
	const char *name = proof->options->names[0];
	char alternative[DOMAIN_NAME_MAX + 32];
	uint8_t random[DIGEST_SIZE];
	char digest[2 * DIGEST_SIZE + 1];
	char extension[2 * DIGEST_SIZE + 64];
	char subject[80];
	cleanup_free char *output = NULL;
	struct in6_addr address;
	/* clang-format off */
	const char *const argv[] = {
		"openssl", "req", "-x509", "-nodes", "-days", "1",
		"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
		"-subj", subject, "-addext", alternative, "-addext", extension,
		"-keyout", "-", NULL
	};
	/* clang-format on */
	int status;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	to_hex(random, sizeof(random), digest);
	snprintf(proof->subject, sizeof(proof->subject), "check-%.32s", digest);
	snprintf(subject, sizeof(subject), "/CN=%s", proof->subject);
	snprintf(alternative, sizeof(alternative), "subjectAltName=%s:%s",
		 address_parse(name, &address) ? "IP" : "DNS", name);
	snprintf(extension, sizeof(extension),
		 "1.3.6.1.5.5.7.1.31=critical,DER:04%02x%s", DIGEST_SIZE,
		 digest);
	status = spawn_wait(proof->openssl, (char *const *)argv, &output);
	if (status == 0)
		return keep(proof, output);
	log_error("openssl makes no certificate: %s",
		  status < 0 ? error_text(status) : output);
	return -EIO;
}

/* In the child: with what is at the other end of our pipes. */
static _Noreturn void become_responder(const struct proof *proof,
				       const char *address, int input,
				       int output)
{
	/* clang-format off */
	const char *const argv[] = {
		"openssl", "s_server", "-accept", address,
		"-cert", CERTIFICATE_PATH, "-key", CERTIFICATE_PATH,
		"-alpn", "acme-tls/1", NULL
	};
	/* clang-format on */

	dup2(input, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	dup2(proof->certificate, CERTIFICATE_FILENO);
	fcntl(CERTIFICATE_FILENO, F_SETFD, 0);
	close_between(CERTIFICATE_FILENO + 1, INT_MAX);
	/* Nothing of it outlives us; a change of user would undo this. */
	if (privileges_drop(proof->uid, proof->gid) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(EXIT_CODE_FAILED);
	execv(proof->openssl, (char *const *)argv);
	_exit(EXIT_CODE_FAILED);
}

/* It ends with its input, which is kept open therefore. */
static int start_responder(struct proof *proof, const char *address)
{
	int input[2];
	int output[2];

	if (pipe2(input, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(output, O_CLOEXEC) < 0) {
		close(input[0]);
		close(input[1]);
		return -errno;
	}
	proof->input = input[1];
	proof->output = output[0];
	fcntl(proof->output, F_SETFL, O_NONBLOCK);
	proof->responder = fork();
	if (proof->responder == 0)
		become_responder(proof, address, input[0], output[1]);
	close(input[0]);
	close(output[1]);
	return proof->responder < 0 ? -errno : 0;
}

static void end_responder(struct proof *proof)
{
	close_fd_at(&proof->certificate);
	close_fd_at(&proof->input);
	close_fd_at(&proof->output);
	if (proof->responder <= 0)
		return;
	kill(proof->responder, SIGKILL);
	spawn_reap(proof->responder);
}

/* Read on what openssl says; false at its end. */
static bool listen_on(struct proof *proof)
{
	ssize_t length;

	if (proof->length > OUTPUT_SIZE / 2) {
		proof->length -= OUTPUT_SIZE / 4;
		memmove(proof->said, proof->said + OUTPUT_SIZE / 4,
			proof->length);
	}
	length = read(proof->output, proof->said + proof->length,
		      OUTPUT_SIZE - 1 - proof->length);
	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	/* What a client sends is in it, and may hold anything. */
	for (ssize_t i = 0; i < length; i++)
		if (!proof->said[proof->length + (size_t)i])
			proof->said[proof->length + (size_t)i] = '?';
	proof->length += (size_t)length;
	proof->said[proof->length] = '\0';
	return length > 0;
}

static bool accepts(const struct proof *proof)
{
	return strstr(proof->said, "ACCEPT") != NULL;
}

/* A handshake with the protocol of validations has come to its end. */
static bool is_proved(const struct proof *proof)
{
	const char *chosen =
		strstr(proof->said, "ALPN protocols selected: acme-tls/1");

	return chosen && strstr(chosen, "CIPHER is ");
}

/*
 * Wait until openssl has said what @said tells. 0; -ETIMEDOUT; -EINTR by a
 * signal; -EPIPE: openssl has ended.
 */
static int wait_until(struct proof *proof, bool (*said)(const struct proof *),
		      int signal_fd, unsigned int timeout_ms)
{
	const uint64_t deadline = monotonic_ns() + timeout_ms * NS_PER_MS;
	struct pollfd fds[] = {
		{ .fd = proof->output, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};

	while (!said(proof)) {
		const int left_ms = ms_until(deadline);

		if (left_ms == 0)
			return -ETIMEDOUT;
		if (poll(fds, ARRAY_SIZE(fds), left_ms) < 0)
			continue;
		if (signals_read(signal_fd, NULL))
			return -EINTR;
		if (fds[0].revents && !listen_on(proof))
			return -EPIPE;
	}
	return 0;
}

/* What to type on another host, and what it must show. */
static void tell_what_to_do(const struct proof *proof, unsigned int wait_ms)
{
	const struct options *options = proof->options;
	const char *name = options->names[0];
	const bool ipv6 = strchr(name, ':') != NULL;
	struct domain_list asked = { .count = 0 };
	char line[3 * DOMAIN_NAME_MAX];

	/* Of an address it is the name for reverse look-ups. */
	if (domain_list_add(&asked, name) < 0)
		return;
	snprintf(line, sizeof(line),
		 "openssl s_client -connect %s%s%s:%u -servername %s -alpn "
		 "acme-tls/1 </dev/null",
		 ipv6 ? "[" : "", name, ipv6 ? "]" : "", options->service_port,
		 asked.names[0]);
	if (options->json) {
		fputs("{\"command\":", stdout);
		print_quoted(line);
		printf(",\"alpn\":\"acme-tls/1\",\"subject\":\"%s\","
		       "\"seconds\":%u}\n",
		       proof->subject, wait_ms / 1000);
	} else {
		printf("On another host, within %u s:\n\n    %s\n\nIt proves "
		       "the way in if it prints \"ALPN protocol: acme-tls/1\" "
		       "and, as the subject,\n%s\n",
		       wait_ms / 1000, line, proof->subject);
	}
	fflush(stdout);
}

static void tell_result(const struct options *options, int err)
{
	if (options->json)
		printf("{\"proved\":%s}\n", err ? "false" : "true");
	else if (!err)
		puts("Proved: a challenge came in, and was answered.");
	fflush(stdout);
	if (err == -ETIMEDOUT)
		log_error("no challenge came in time");
	else if (err == -EPIPE)
		log_error("openssl has ended");
}

/* While the proxy serves. */
static int wait_for_proof(void *context, const sigset_t *stop_signals,
			  int signal_fd)
{
	struct proof *proof = context;
	const unsigned int wait_ms = proof->options->wait_ms
					     ? proof->options->wait_ms
					     : DEFAULT_WAIT_MS;
	int err;

	(void)stop_signals;
	tell_what_to_do(proof, wait_ms);
	err = wait_until(proof, is_proved, signal_fd, wait_ms);
	tell_result(proof->options, err);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_DONE;
}

/* openssl answers at @address when it returns. 0 or negative errno (logged). */
static int prepare(struct proof *proof, const char *address)
{
	cleanup_fd int signal_fd = signals_open(0);
	int err = make_certificate(proof);

	if (!err)
		err = start_responder(proof, address);
	if (err)
		return err;
	err = wait_until(proof, accepts, signal_fd, READY_MS);
	if (err && err != -EINTR)
		log_error("openssl does not listen at %s: %s", address,
			  *proof->said ? proof->said : error_text(err));
	return err;
}

/* The address of -alpn, as openssl takes it; NULL if it does not. */
static const char *responder_address(const struct options *options,
				     char text[static ENDPOINT_TEXT_SIZE])
{
	struct backend backend;

	if (backend_resolve(options->alpn, &backend)) {
		log_error("-alpn %s: no such host", options->alpn);
		return NULL;
	}
	if (backend_is_unix(&backend) || options->alpn_proxy_protocol) {
		log_error("openssl answers at HOST:PORT alone, without the "
			  "PROXY protocol: leave -alpn and "
			  "--alpn-proxy-protocol out");
		return NULL;
	}
	return endpoint_text(&backend.addresses[0], text);
}

int check_serve(const struct options *options)
{
	struct options instance = *options;
	struct proof proof = {
		.options = options, .certificate = -1, .input = -1, .output = -1
	};
	char text[ENDPOINT_TEXT_SIZE];
	const char *address = responder_address(options, text);
	int code = EXIT_CODE_FAILED;

	if (!address)
		return EXIT_CODE_FAILED;
	proof.openssl = spawn_find("openssl");
	if (!proof.openssl) {
		log_error("openssl is not installed, which check --serve "
			  "answers with");
		return EXIT_CODE_FAILED;
	}
	if (privileges_find_user(options->user, &proof.uid, &proof.gid)) {
		log_error("--user %s: no such user, or root", options->user);
		free(proof.openssl);
		return EXIT_CODE_FAILED;
	}
	/* --wait is for the proof, and not for the drain. */
	instance.wait_ms = 0;
	signals_hold(NULL);
	if (prepare(&proof, address) == 0)
		code = while_serving(&instance, wait_for_proof, &proof);
	end_responder(&proof);
	free(proof.openssl);
	return code;
}
