// SPDX-License-Identifier: MIT
/*
 * tls_load [ADDRESS:]PORT MILLISECONDS
 *
 * Visits of a real web server over TLS 1.3, one after the other, each with a
 * full handshake and one page. The result is one line of JSON.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"

#define MAX_SAMPLES 1000000
#define REQUEST	    "GET / HTTP/1.0\r\nHost: web.example\r\n\r\n"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int connect_to(const struct sockaddr_in *target)
{
	static uint32_t next;
	struct sockaddr_in source = target_visitor(target, next++);
	struct timeval patience = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0 ||
	    connect(fd, (const struct sockaddr *)target, sizeof(*target)) < 0)
		err(1, "connect");
	return fd;
}

static bool visit(SSL_CTX *context, const struct sockaddr_in *target)
{
	static char page[65536];
	int fd = connect_to(target);
	SSL *tls = SSL_new(context);
	bool right = false;
	int length;

	SSL_set_fd(tls, fd);
	SSL_set_tlsext_host_name(tls, "web.example");
	if (SSL_connect(tls) == 1 &&
	    SSL_write(tls, REQUEST, sizeof(REQUEST) - 1) > 0) {
		while ((length = SSL_read(tls, page, sizeof(page))) > 0)
			right = true;
	}
	SSL_free(tls);
	close(fd);
	return right;
}

static int compare_samples(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left;
	uint32_t b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

int main(int argc, char *argv[])
{
	static const unsigned char protocols[] = "\x08http/1.1";
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	unsigned long long completed = 0;
	unsigned long long failed = 0;
	uint64_t started = now_ns();
	static uint32_t samples_us[MAX_SAMPLES];
	struct sockaddr_in target;
	uint64_t deadline, begun;

	if (argc != 3 || !context)
		errx(2, "usage: tls_load PORT MILLISECONDS");
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_protos(context, protocols, sizeof(protocols) - 1);
	deadline = started + strtoul(argv[2], NULL, 10) * 1000000;
	target = target_read(argv[1]);
	while ((begun = now_ns()) < deadline && completed < MAX_SAMPLES) {
		if (visit(context, &target))
			samples_us[completed++] =
				(uint32_t)((now_ns() - begun) / 1000);
		else
			failed++;
	}
	qsort(samples_us, completed, sizeof(*samples_us), compare_samples);
	printf("{\"completed\": %llu, \"failed\": %llu, \"seconds\": %.6f, "
	       "\"p50_us\": %u, \"p99_us\": %u}\n",
	       completed, failed, (double)(now_ns() - started) / 1e9,
	       samples_us[completed / 2], samples_us[completed * 99 / 100]);
	SSL_CTX_free(context);
	return 0;
}
