// SPDX-License-Identifier: MIT
#include "supervisor/privileges.h"

#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/caps.h"

/* A number needs no /etc/passwd, which a container from scratch has not. */
static bool read_id(const char *name, uid_t *id)
{
	unsigned long value;
	char *end;

	if (*name < '0' || *name > '9')
		return false;
	errno = 0;
	value = strtoul(name, &end, 10);
	/* The last number means "none" (setresuid(2)). */
	if (errno || *end || value >= (uid_t)-1)
		return false;
	*id = (uid_t)value;
	return true;
}

int privileges_find_user(const char *name, uid_t *uid, gid_t *gid)
{
	const struct passwd *entry;

	if (read_id(name, uid)) {
		*gid = *uid;
		return *uid ? 0 : -EPERM;
	}

	/* See backend_resolve(): no NSS modules of another C library. */
	__nss_configure_lookup("passwd", "files");
	errno = 0;
	entry = getpwnam(name);
	if (!entry)
		return errno == EMFILE || errno == ENFILE ? -errno : -ENOENT;
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	return *uid ? 0 : -EPERM;
}

void privileges_limit_resources(void)
{
	const struct rlimit none = { 0, 0 };

	/* A core file would hold visitors' bytes; a worker has no children. */
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &none);
}

/* The ids take the effective capabilities with them, unless those were not
 * root's. */
int privileges_drop(uid_t uid, gid_t gid)
{
	int err;

	err = caps_drop_bounds();
	if (err)
		return err;
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	     setresuid(uid, uid, uid) < 0))
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return caps_drop_all();
}
