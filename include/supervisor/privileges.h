/* SPDX-License-Identifier: MIT */
/* Whose process this is, and what that lets it do. */
#ifndef SUPERVISOR_PRIVILEGES_H
#define SUPERVISOR_PRIVILEGES_H

#include <sys/types.h>

/* The ids of user @name, or of the user with that number; 0; -ENOENT; -EPERM
 * if that is root; -EMFILE or -ENFILE if it cannot be looked up. */
int privileges_find_user(const char *name, uid_t *uid, gid_t *gid);

/* No core file, and no child; a later execve() as another user fails. */
void privileges_limit_resources(void);

/*
 * Become that user, unless we are not root; give up every capability, and what
 * execve() could bring back; no debugger. 0 or negative errno: then do not go
 * on.
 */
int privileges_drop(uid_t uid, gid_t gid);

#endif
