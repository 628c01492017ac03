/* SPDX-License-Identifier: MIT */
/*
 * What load and backend say to each other through a proxy.
 *
 * It begins with a well-formed ClientHello, so that every proxy judges it, and
 * the rest is not TLS, so that no cryptography hides what the proxy costs. The
 * order for the backend is in the session id, which no proxy looks at.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As long as the padded hello of a usual browser, one record. */
#define HELLO_SIZE 517

/* What visitors are of, see target_visitor(). */
#define VISITOR_NETWORKS 250

enum order {
	/* Send length bytes, then close. */
	ORDER_REPLY = 'R',
	/* Take length bytes, send one, then close. */
	ORDER_TAKE = 'T',
	/* Send one byte, then wait for the client to close. */
	ORDER_HOLD = 'H',
};

/* The first byte that a backend sends says which one it is. */
enum backend_name {
	BACKEND_FALLBACK = 'F',
	BACKEND_ALPN = 'A',
};

/* Where visits go: PORT, on loopback, or ADDRESS:PORT. */
struct sockaddr_in target_read(const char *text);
/* The @number-th visitor's own address, in the target's network of class A:
 * from one alone the ports would run out. One after the other are of different
 * networks, as what comes from the internet is. */
struct sockaddr_in target_visitor(const struct sockaddr_in *target,
				  uint32_t number);

/* Write a hello that carries the order. @alpn and @server_name fit in it. */
void hello_write(uint8_t hello[static HELLO_SIZE], enum order order,
		 uint64_t length, const char *alpn, const char *server_name);

/* Returns false if @hello did not come from hello_write(). */
bool hello_read(const uint8_t hello[static HELLO_SIZE], enum order *order,
		uint64_t *length);

/* Open what payload_send() sends from; never returns if it cannot. */
int payload_open(void);

/* Send up to @length bytes of no meaning, without copying any: what an end
 * point costs must not hide what a relay does. As send(2), never a signal. */
ssize_t payload_send(int fd, int payload, uint64_t length);

#endif
