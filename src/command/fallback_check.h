/* SPDX-License-Identifier: MIT */
/*
 * Is the web server where the fallback leads? One that listens on its outer
 * address alone serves every visitor, until the redirect is in place.
 */
#ifndef COMMAND_FALLBACK_CHECK_H
#define COMMAND_FALLBACK_CHECK_H

#include <stdint.h>

#include "base/address.h"

/*
 * Negative errno, with which every address of @fallback turns us away, if
 * somebody listens on @service_port all the same. 0 if not: also where that
 * cannot be told within a second, and where nobody listens, because no visitor
 * loses anything then. No connection is made to an address at which somebody
 * is seen to listen.
 */
int fallback_check(const struct backend *fallback, uint16_t service_port);

#endif
