/* SPDX-License-Identifier: MIT */
/*
 * `check --serve`: the way in, proved. The proxy is started, and where the ACME
 * client would answer openssl does, without rights like a worker, and with a
 * certificate such as a client makes for a validation; whoever connects from
 * another host and sees it has proved the way. It has a name that cannot be
 * guessed, and its key is in memory alone.
 */
#ifndef COMMAND_CHECK_SERVE_H
#define COMMAND_CHECK_SERVE_H

#include "command/options.h"

/* Returns the exit code: EXIT_CODE_DONE with the first proof. */
int check_serve(const struct options *options);

#endif
