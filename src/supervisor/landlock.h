/* SPDX-License-Identifier: MIT */
/* What files, ports and processes this process can reach (landlock(7)). */
#ifndef SUPERVISOR_LANDLOCK_H
#define SUPERVISOR_LANDLOCK_H

#include "supervisor/confinement.h"

/*
 * No file, no port but those of @settings, no process but itself, as far as the
 * kernel can forbid it. Needs privileges_drop() before. Returns which of
 * CONFINED_FILES, CONFINED_PORTS and CONFINED_PROCESSES are in force.
 */
unsigned int landlock_restrict(const struct confinement_settings *settings);

#endif
