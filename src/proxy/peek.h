/* SPDX-License-Identifier: MIT */
/* Read the client's first bytes and judge where the connection goes. */
#ifndef PROXY_PEEK_H
#define PROXY_PEEK_H

struct connection;
struct engine;

/* The client has sent something, or may have. */
void peek_read(struct engine *engine, struct connection *connection);

/* The hello timeout is over: to the fallback, with what came. */
void peek_timeout(struct engine *engine, struct connection *connection);

#endif
