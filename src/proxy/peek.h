/* SPDX-License-Identifier: MIT */
/* Read the client's first bytes and judge where the connection goes. */
#ifndef PROXY_PEEK_H
#define PROXY_PEEK_H

struct connection;
struct engine;

/* It was just opened: watch it, and read what is there already. */
void peek_begin(struct engine *engine, struct connection *connection);

/* The client has sent something. */
void peek_read(struct engine *engine, struct connection *connection);

/* The hello timeout is over: to the fallback, with what came; but whoever has
 * begun a hello gets as long again, twice. */
void peek_timeout(struct engine *engine, struct connection *connection);
void peek_begun_timeout(struct engine *engine, struct connection *connection);

#endif
