/* SPDX-License-Identifier: MIT */
/*
 * The PROXY header, of either version, that a balancer may send before the
 * client's bytes (HAProxy's doc/proxy-protocol.txt).
 *
 * Pure, and without the C library, so that a BPF program can be built of it.
 */
#ifndef HELLO_PROXY_PREAMBLE_H
#define HELLO_PROXY_PREAMBLE_H

#include <stddef.h>
#include <stdint.h>

/* The longest that is taken for one: version 2 may bring 64 KB, but is meant to
 * fit into one segment. */
#define PROXY_PREAMBLE_MAX_LENGTH 2048

/* So far the bytes may be the beginning of a header. */
#define PROXY_PREAMBLE_NEED_MORE (-1)

/*
 * The length of the header that a stream of which @length bytes have come
 * begins with; 0 if it begins with none, or PROXY_PREAMBLE_NEED_MORE.
 */
int proxy_preamble_length(const uint8_t *bytes, size_t length);

#endif
