/* SPDX-License-Identifier: MIT */
/*
 * A process that takes away the hold of an instance whose supervisor was
 * killed, once the workers that it left have ended (conntrack_hold.h).
 */
#ifndef REDIRECT_IPTABLES_HOLD_SWEEPER_H
#define REDIRECT_IPTABLES_HOLD_SWEEPER_H

#include <stdint.h>

/*
 * Start one for the hold called @name and its @listen_port, unless one waits
 * for it already. It is nobody's child and has no descriptor of ours. That it
 * cannot be started is logged: the rule, which does nothing, then stays for the
 * next start or stop.
 */
void hold_sweeper_start(const char *name, uint16_t listen_port);

#endif
