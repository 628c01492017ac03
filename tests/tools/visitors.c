/* SPDX-License-Identifier: MIT */
/*
 * Visitors of a web server: a steady rate of new TLS connections, each of
 * which has to show the expected certificate and the expected page.
 *
 * The rate is kept by the clock and not by the answers: a server that stalls
 * meets the same visitors as one that does not, and the threads catch up.
 * Totals go to standard output as one line of JSON at the start, at each
 * SIGUSR1 and at the end; failed visits to standard error as they happen.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull
/* A visit that takes longer is one that a person would have noticed, on a busy
 * machine, too. */
#define STALL_SECONDS 5
#define MAX_THREADS   64
#define RESPONSE_SIZE (64 * 1024)
#define REQUEST_SIZE  512
/* Enough to understand a fault, too few to drown it. */
#define MAX_FAILURE_LINES 20

enum outcome {
	OUTCOME_OK,
	OUTCOME_REFUSED,
	OUTCOME_RESET,
	OUTCOME_STALLED,
	/* Ended in good order, but before all was there. */
	OUTCOME_CUT_SHORT,
	OUTCOME_WRONG_CERTIFICATE,
	OUTCOME_WRONG_PAGE,
	OUTCOME_OTHER,
	OUTCOME_COUNT,
};

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_REFUSED] = "refused",
	[OUTCOME_RESET] = "reset",
	[OUTCOME_STALLED] = "stalled",
	[OUTCOME_CUT_SHORT] = "cut_short",
	[OUTCOME_WRONG_CERTIFICATE] = "wrong_certificate",
	[OUTCOME_WRONG_PAGE] = "wrong_page",
	[OUTCOME_OTHER] = "other",
};

struct visitors {
	struct sockaddr_storage server;
	socklen_t server_length;
	const char *server_name;
	unsigned char fingerprint[EVP_MAX_MD_SIZE];
	unsigned char page[RESPONSE_SIZE];
	size_t page_size;
	char request[REQUEST_SIZE];
	double rate;
	unsigned int thread_count;
	SSL_CTX *tls;

	uint64_t started_ns;
	atomic_bool ended;
	atomic_uint_least64_t outcomes[OUTCOME_COUNT];
	/* Pages whose X-Peer header says that the server saw 127.x.y.z, and
	 * those where it is the visitor's own address. */
	atomic_uint_least64_t through_proxy;
	atomic_uint_least64_t own_address;
	/* A lost SYN shows here, however fast the retry was. */
	atomic_uint_least64_t handshake_retransmissions;
	atomic_uint_least64_t slowest_ns;
	atomic_uint failure_lines;
};

struct visitor_thread {
	pthread_t thread;
	unsigned int index;
	struct visitors *visitors;
};

struct visit {
	int fd;
	SSL *tls;
	const char *step;
	int error;
	bool through_proxy;
	bool own_address;
	/* When each step was done; 0 for those that were not. */
	uint64_t began_ns;
	uint64_t connected_ns;
	uint64_t secured_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_until_ns(uint64_t when)
{
	const struct timespec until = {
		.tv_sec = (time_t)(when / NS_PER_S),
		.tv_nsec = (long)(when % NS_PER_S),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) ==
	       EINTR)
		;
}

static enum outcome outcome_of_errno(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return OUTCOME_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return OUTCOME_RESET;
	case EAGAIN:
	case EINPROGRESS:
	case ETIMEDOUT:
		return OUTCOME_STALLED;
	case 0:
		return OUTCOME_CUT_SHORT;
	default:
		return OUTCOME_OTHER;
	}
}

/* What became of the visit when an SSL call returned @result <= 0. */
static enum outcome outcome_of_tls(struct visit *visit, int result, int error)
{
	switch (SSL_get_error(visit->tls, result)) {
	case SSL_ERROR_SYSCALL:
		visit->error = error;
		return outcome_of_errno(error);
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		visit->error = EAGAIN;
		return OUTCOME_STALLED;
	case SSL_ERROR_ZERO_RETURN:
		return OUTCOME_CUT_SHORT;
	default:
		if (ERR_GET_REASON(ERR_peek_error()) ==
		    SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return OUTCOME_CUT_SHORT;
		return OUTCOME_OTHER;
	}
}

static enum outcome connect_visit(struct visitors *visitors,
				  struct visit *visit)
{
	const struct timeval limit = { .tv_sec = STALL_SECONDS };
	struct tcp_info info;
	socklen_t info_length = sizeof(info);

	visit->step = "connect";
	visit->fd = socket(visitors->server.ss_family,
			   SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (visit->fd < 0 ||
	    setsockopt(visit->fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)) ||
	    setsockopt(visit->fd, SOL_SOCKET, SO_SNDTIMEO, &limit,
		       sizeof(limit))) {
		visit->error = errno;
		return OUTCOME_OTHER;
	}
	if (connect(visit->fd, (const struct sockaddr *)&visitors->server,
		    visitors->server_length)) {
		visit->error = errno;
		return outcome_of_errno(errno);
	}
	if (!getsockopt(visit->fd, IPPROTO_TCP, TCP_INFO, &info, &info_length))
		atomic_fetch_add(&visitors->handshake_retransmissions,
				 info.tcpi_total_retrans);
	return OUTCOME_OK;
}

static enum outcome check_certificate(const struct visitors *visitors,
				      struct visit *visit)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	X509 *certificate = SSL_get1_peer_certificate(visit->tls);
	bool same;

	visit->step = "certificate";
	same = certificate &&
	       X509_digest(certificate, EVP_sha256(), digest, &length) == 1 &&
	       !memcmp(digest, visitors->fingerprint, length);
	X509_free(certificate);
	return same ? OUTCOME_OK : OUTCOME_WRONG_CERTIFICATE;
}

static enum outcome shake_hands(const struct visitors *visitors,
				struct visit *visit)
{
	int result;

	visit->step = "TLS handshake";
	visit->tls = SSL_new(visitors->tls);
	if (!visit->tls || !SSL_set_fd(visit->tls, visit->fd) ||
	    !SSL_set_tlsext_host_name(visit->tls, visitors->server_name))
		return OUTCOME_OTHER;
	ERR_clear_error();
	errno = 0;
	result = SSL_connect(visit->tls);
	if (result <= 0)
		return outcome_of_tls(visit, result, errno);
	return check_certificate(visitors, visit);
}

/* Whom the server saw, by @response, which is terminated. */
static void check_peer(struct visit *visit, const char *response)
{
	struct sockaddr_storage local;
	socklen_t length = sizeof(local);
	char address[INET6_ADDRSTRLEN];
	char line[INET6_ADDRSTRLEN + 16];

	visit->through_proxy = strstr(response, "\r\nX-Peer: 127.");
	if (getsockname(visit->fd, (struct sockaddr *)&local, &length) < 0 ||
	    getnameinfo((struct sockaddr *)&local, length, address,
			sizeof(address), NULL, 0, NI_NUMERICHOST))
		return;
	snprintf(line, sizeof(line), "\r\nX-Peer: %s\r\n", address);
	visit->own_address = strstr(response, line);
}

/* @response is terminated. */
static enum outcome check_page(const struct visitors *visitors,
			       struct visit *visit, const char *response,
			       size_t size)
{
	const char *head_end = strstr(response, "\r\n\r\n");
	const char *page;

	visit->step = "page";
	if (!head_end)
		return OUTCOME_CUT_SHORT;
	page = head_end + strlen("\r\n\r\n");
	check_peer(visit, response);
	size -= (size_t)(page - response);
	if (size < visitors->page_size)
		return OUTCOME_CUT_SHORT;
	if (strncmp(response, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 ")) ||
	    size != visitors->page_size || memcmp(page, visitors->page, size))
		return OUTCOME_WRONG_PAGE;
	return OUTCOME_OK;
}

static enum outcome read_page(const struct visitors *visitors,
			      struct visit *visit)
{
	char response[RESPONSE_SIZE + 1];
	size_t size = 0;
	enum outcome end;
	int result;

	visit->step = "request";
	result = SSL_write(visit->tls, visitors->request,
			   (int)strlen(visitors->request));
	if (result <= 0)
		return outcome_of_tls(visit, result, errno);
	visit->step = "response";
	do {
		ERR_clear_error();
		errno = 0;
		result = SSL_read(visit->tls, response + size,
				  (int)(RESPONSE_SIZE - size));
		if (result > 0)
			size += (size_t)result;
	} while (result > 0 && size < RESPONSE_SIZE);
	end = result > 0 ? OUTCOME_WRONG_PAGE
			 : outcome_of_tls(visit, result, errno);
	/* The server ends the connection, so "cut short" is how it should. */
	if (end != OUTCOME_CUT_SHORT)
		return end;
	response[size] = '\0';
	return check_page(visitors, visit, response, size);
}

/* Seconds from the first to the second moment; 0 if there was none. */
static double seconds_between(uint64_t first, uint64_t second)
{
	return second > first ? (double)(second - first) / (double)NS_PER_S : 0;
}

static void report_failure(struct visitors *visitors, const struct visit *visit,
			   enum outcome outcome)
{
	struct sockaddr_storage local = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof(local);
	unsigned int port = 0;

	if (atomic_fetch_add(&visitors->failure_lines, 1) >= MAX_FAILURE_LINES)
		return;
	/* sin_port and sin6_port are at the same place. */
	if (visit->fd >= 0 &&
	    !getsockname(visit->fd, (struct sockaddr *)&local, &length))
		port = ntohs(((struct sockaddr_in *)&local)->sin_port);
	fprintf(stderr,
		"%.3f s: %s at %s: %s (port %u, connected after %.3f s, "
		"TLS after %.3f s, ended after %.3f s%s)\n",
		seconds_between(visitors->started_ns, visit->began_ns),
		outcome_names[outcome], visit->step,
		visit->error ? strerror(visit->error) : "-", port,
		seconds_between(visit->began_ns, visit->connected_ns),
		seconds_between(visit->began_ns, visit->secured_ns),
		seconds_between(visit->began_ns, now_ns()),
		visit->through_proxy ? ", through the proxy" : "");
}

static void visit_once(struct visitors *visitors)
{
	struct visit visit = { .fd = -1, .began_ns = now_ns() };
	uint64_t took, slowest;
	enum outcome outcome = connect_visit(visitors, &visit);

	if (outcome == OUTCOME_OK) {
		visit.connected_ns = now_ns();
		outcome = shake_hands(visitors, &visit);
	}
	if (outcome == OUTCOME_OK) {
		visit.secured_ns = now_ns();
		outcome = read_page(visitors, &visit);
	}
	took = now_ns() - visit.began_ns;
	if (outcome == OUTCOME_OK && took > STALL_SECONDS * NS_PER_S)
		outcome = OUTCOME_STALLED;
	if (outcome != OUTCOME_OK)
		report_failure(visitors, &visit, outcome);
	SSL_free(visit.tls);
	if (visit.fd >= 0)
		close(visit.fd);

	slowest = atomic_load(&visitors->slowest_ns);
	while (took > slowest && !atomic_compare_exchange_weak(
					 &visitors->slowest_ns, &slowest, took))
		;
	atomic_fetch_add(&visitors->outcomes[outcome], 1);
	if (outcome == OUTCOME_OK && visit.through_proxy)
		atomic_fetch_add(&visitors->through_proxy, 1);
	if (outcome == OUTCOME_OK && visit.own_address)
		atomic_fetch_add(&visitors->own_address, 1);
}

static void *run_thread(void *argument)
{
	const struct visitor_thread *thread = argument;
	struct visitors *visitors = thread->visitors;
	double interval = (double)NS_PER_S / visitors->rate;
	uint64_t turn = thread->index;

	while (!atomic_load(&visitors->ended)) {
		sleep_until_ns(visitors->started_ns +
			       (uint64_t)(interval * (double)turn));
		visit_once(visitors);
		turn += visitors->thread_count;
	}
	return NULL;
}

static void print_totals(struct visitors *visitors)
{
	double seconds =
		(double)(now_ns() - visitors->started_ns) / (double)NS_PER_S;
	uint64_t visits = 0;

	printf("{");
	for (size_t i = 0; i < OUTCOME_COUNT; i++) {
		uint64_t count = atomic_load(&visitors->outcomes[i]);

		visits += count;
		printf("\"%s\": %llu, ", outcome_names[i],
		       (unsigned long long)count);
	}
	printf("\"visits\": %llu, \"through_proxy\": %llu, "
	       "\"own_address\": %llu, ",
	       (unsigned long long)visits,
	       (unsigned long long)atomic_load(&visitors->through_proxy),
	       (unsigned long long)atomic_load(&visitors->own_address));
	printf("\"handshake_retransmissions\": %llu, ",
	       (unsigned long long)atomic_load(
		       &visitors->handshake_retransmissions));
	printf("\"slowest_ms\": %llu, \"seconds\": %.3f}\n",
	       (unsigned long long)(atomic_load(&visitors->slowest_ns) /
				    NS_PER_MS),
	       seconds);
	fflush(stdout);
}

/* Until the time is over or a signal ends it; SIGUSR1 asks for totals. */
static void wait_for_end(struct visitors *visitors, const sigset_t *signals,
			 double seconds)
{
	uint64_t end = seconds > 0 ? visitors->started_ns +
					     (uint64_t)(seconds * NS_PER_S)
				   : UINT64_MAX;

	for (;;) {
		uint64_t now = now_ns();
		uint64_t left = now < end ? end - now : 0;
		struct timespec limit = {
			.tv_sec = (time_t)(left / NS_PER_S),
			.tv_nsec = (long)(left % NS_PER_S),
		};
		int signal_number = sigtimedwait(signals, NULL, &limit);

		if (signal_number == SIGUSR1)
			print_totals(visitors);
		else if (signal_number > 0 || errno == EAGAIN)
			return;
	}
}

static int run_visitors(struct visitors *visitors, double seconds)
{
	struct visitor_thread threads[MAX_THREADS];
	unsigned int started = 0;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);

	visitors->started_ns = now_ns();
	print_totals(visitors);
	for (; started < visitors->thread_count; started++) {
		struct visitor_thread *thread = &threads[started];

		thread->index = started;
		thread->visitors = visitors;
		if (pthread_create(&thread->thread, NULL, run_thread, thread))
			break;
	}
	if (started == visitors->thread_count)
		wait_for_end(visitors, &signals, seconds);
	atomic_store(&visitors->ended, true);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i].thread, NULL);
	print_totals(visitors);
	return started == visitors->thread_count ? 0 : 1;
}

static bool read_fingerprint(struct visitors *visitors, const char *text)
{
	long length = 0;
	unsigned char *bytes = OPENSSL_hexstr2buf(text, &length);
	bool good = bytes && length == 32;

	if (good)
		memcpy(visitors->fingerprint, bytes, (size_t)length);
	OPENSSL_free(bytes);
	return good;
}

static bool read_page_file(struct visitors *visitors, const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		return false;
	visitors->page_size =
		fread(visitors->page, 1, sizeof(visitors->page), file);
	fclose(file);
	return visitors->page_size > 0;
}

static bool read_server(struct visitors *visitors, const char *address,
			const char *port)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&visitors->server;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&visitors->server;
	uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));

	if (inet_pton(AF_INET, address, &ipv4->sin_addr) == 1) {
		ipv4->sin_family = AF_INET;
		ipv4->sin_port = number;
		visitors->server_length = sizeof(*ipv4);
	} else if (inet_pton(AF_INET6, address, &ipv6->sin6_addr) == 1) {
		ipv6->sin6_family = AF_INET6;
		ipv6->sin6_port = number;
		visitors->server_length = sizeof(*ipv6);
	}
	return visitors->server_length > 0 && number;
}

static int usage(void)
{
	fputs("usage: visitors -f SHA256 -p PAGEFILE [-n NAME] [-r RATE]\n"
	      "                [-t THREADS] [-d SECONDS] ADDRESS PORT\n",
	      stderr);
	return 2;
}

static bool read_options(struct visitors *visitors, double *seconds, int argc,
			 char *argv[])
{
	bool have_fingerprint = false;
	int option;

	while ((option = getopt(argc, argv, "d:f:n:p:r:t:")) != -1) {
		switch (option) {
		case 'd':
			*seconds = strtod(optarg, NULL);
			break;
		case 'f':
			have_fingerprint = read_fingerprint(visitors, optarg);
			break;
		case 'n':
			visitors->server_name = optarg;
			break;
		case 'p':
			if (!read_page_file(visitors, optarg))
				return false;
			break;
		case 'r':
			visitors->rate = strtod(optarg, NULL);
			break;
		case 't':
			visitors->thread_count =
				(unsigned int)strtoul(optarg, NULL, 10);
			break;
		default:
			return false;
		}
	}
	return have_fingerprint && visitors->page_size && visitors->rate > 0 &&
	       visitors->thread_count &&
	       visitors->thread_count <= MAX_THREADS && argc - optind == 2 &&
	       read_server(visitors, argv[optind], argv[optind + 1]);
}

int main(int argc, char *argv[])
{
	struct visitors *visitors = calloc(1, sizeof(*visitors));
	double seconds = 0;
	int result;

	if (!visitors)
		return 1;
	visitors->server_name = "localhost";
	visitors->rate = 200;
	visitors->thread_count = 16;
	if (!read_options(visitors, &seconds, argc, argv)) {
		free(visitors);
		return usage();
	}
	snprintf(visitors->request, sizeof(visitors->request),
		 "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
		 visitors->server_name);
	visitors->tls = SSL_CTX_new(TLS_client_method());
	if (!visitors->tls) {
		free(visitors);
		return 1;
	}
	/* The fingerprint is asked for instead: the certificate signs itself. */
	SSL_CTX_set_verify(visitors->tls, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(visitors->tls, SSL_SESS_CACHE_OFF);
	result = run_visitors(visitors, seconds);
	SSL_CTX_free(visitors->tls);
	free(visitors);
	return result;
}
