/* SPDX-License-Identifier: MIT */
/*
 * Where the log goes when it is not just standard error: a file, which may be
 * rotated under us, or the journal.
 */
#ifndef BASE_LOG_FILE_H
#define BASE_LOG_FILE_H

#include <stdbool.h>

/*
 * Log to the file at @path, which is made with mode 0600 and must be ours;
 * @path is kept. 0, or negative errno: then the log stays where it was. Links
 * are not followed.
 */
int log_file_open(const char *path);

/*
 * Open the file of the same name again and log there, after a rotation: 0, or
 * negative errno with the log where it was. Nothing happens, and 0 is returned,
 * where the log is no file.
 */
int log_file_reopen(void);

/* Log to @fd from now on, which is taken over, in place of the file so far. */
void log_file_replace(int fd);

/* Is standard error the journal's? See JOURNAL_STREAM in systemd.exec(5). */
bool log_file_is_journal(void);

#endif
