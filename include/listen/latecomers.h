/* SPDX-License-Identifier: MIT */
/*
 * Visitors whose handshake is still under way when the grace of a stop is over:
 * their last packet is lost, or they never meant to send it. The kernel gives
 * them up by itself, a minute after the first (sysctl
 * net.ipv4.tcp_synack_retries, by default). So long the listeners stay open,
 * unless somebody wants their port.
 */
#ifndef LISTEN_LATECOMERS_H
#define LISTEN_LATECOMERS_H

#include <stdbool.h>
#include <stdint.h>

struct inet_diag_msg;

/*
 * Is there a handshake under way with a socket of this host's TCP @port, of
 * which @is_ours (NULL: always) is true as well? False where the kernel does
 * not tell (CONFIG_INET_DIAG).
 */
bool latecomers_exist(uint16_t port,
		      bool (*is_ours)(const struct inet_diag_msg *handshake,
				      void *context),
		      void *context);

/* Let others know that listeners on @port stay open until this descriptor is
 * closed, which is readable once one of them waits for that; or negative
 * errno. */
int latecomers_expect(uint16_t port);

/* Who waits: a descriptor that stays open as long as the listeners, or -1 if it
 * is none of our user's processes. */
int latecomers_hear(int fd);

/* Do listeners on @port stay open for latecomers? */
bool latecomers_are_expected(uint16_t port);

/* Have them close, and wait for that; not for long. */
void latecomers_turn_away(uint16_t port);

#endif
