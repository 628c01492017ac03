/* SPDX-License-Identifier: MIT */
/*
 * The state file, "x.state" beside the pidfile "x.pid": a record of what is
 * made on the host, written before it is made and removed once it is undone.
 * Only who holds the pidfile writes or removes it.
 */
#ifndef INSTANCE_RECORD_FILE_H
#define INSTANCE_RECORD_FILE_H

#include <limits.h>

#include "instance/record.h"

struct record_file {
	char path[PATH_MAX];
};

/* Name the state file of @pidfile. 0 or -ENAMETOOLONG. */
int record_file_name(struct record_file *file, const char *pidfile);

/* Fill in where we are: the kernel's run and the network namespace. 0 or
 * negative errno. */
int record_locate(struct record *record);

/*
 * Write it, for the owner alone: the file is there as a whole, and on the disk,
 * or it is as it was. 0 or negative errno.
 */
int record_file_write(const struct record_file *file,
		      const struct record *record);

/* What one that was killed while it wrote has left. */
void record_file_remove_unfinished(const struct record_file *file);

/*
 * 0, and record_free() is due; -ENOENT: there is none; -EPERM: not ours, or
 * open to others; or as record_parse(); or other negative errno.
 */
int record_file_read(const struct record_file *file, struct record *record);

void record_file_remove(const struct record_file *file);

/* Keep it as "x.state.old", in place of one that is kept so already. 0 or
 * negative errno. */
int record_file_set_aside(const struct record_file *file);

#endif
