/* SPDX-License-Identifier: MIT */
/* `status` on a terminal: what a person wants to see of an instance. */
#ifndef COMMAND_STATUS_TABLE_H
#define COMMAND_STATUS_TABLE_H

#include "status/report.h"

void status_table_print(const struct status_report *report);

#endif
