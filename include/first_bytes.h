/* SPDX-License-Identifier: MIT */
/* Read the client's first bytes and judge where the connection goes. */
#ifndef FIRST_BYTES_H
#define FIRST_BYTES_H

struct connection;
struct engine;

/* The client has sent something, or may have. */
void first_bytes_read(struct engine *engine, struct connection *connection);

/* The hello timeout is over: to the fallback, with what came. */
void first_bytes_timeout(struct engine *engine, struct connection *connection);

#endif
