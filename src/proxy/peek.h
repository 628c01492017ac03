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

/* There was no hello in time: to the fallback, with what came. */
void peek_give_up(struct engine *engine, struct connection *connection);

/* The hello timeout is over: the same, unless a hello has begun. */
void peek_timeout(struct engine *engine, struct connection *connection);

#endif
