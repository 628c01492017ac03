/* SPDX-License-Identifier: MIT */
/* Text of any kind, to standard output. */
#ifndef COMMAND_PRINT_H
#define COMMAND_PRINT_H

#include <stdint.h>

/*
 * In quotes, as JSON and Prometheus both have them. Names come from the user
 * and from the kernel, and anything may be in them: bytes outside printable
 * ASCII become \\xNN, which reads back as \xNN.
 */
void print_quoted(const char *text);

/* For a terminal: bytes outside printable ASCII become "?". */
void print_plain(const char *text);

/* As the option takes it; not of PROXY_PROTOCOL_NONE. */
const char *proxy_protocol_name(uint8_t version);

/* Where connections go, and by which version of the PROXY protocol. */
void print_backend(const char *text, uint8_t version);

/* For people: what a challenge asks for. */
void print_server_name(const char *name);

#endif
