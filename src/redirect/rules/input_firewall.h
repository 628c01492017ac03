/* SPDX-License-Identifier: MIT */
/* Do the host's INPUT rules keep new connections out? */
#ifndef REDIRECT_RULES_INPUT_FIREWALL_H
#define REDIRECT_RULES_INPUT_FIREWALL_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/host.h"

/*
 * Do the rules accept new connections to @service_port but drop them once they
 * are redirected to @listen_port? @rules is the dump of a filter table.
 * Returns as input_firewall_drops().
 */
int input_firewall_drops_redirected(const char *rules, uint16_t service_port,
				    uint16_t listen_port,
				    char rule[static RULE_TEXT_SIZE]);

#endif
