// SPDX-License-Identifier: MIT
#include "supervisor/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* Kernels 6.2, 6.7, 6.10 and 6.12; Debian 12's headers are older. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_NET_CONNECT_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP	(1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define LANDLOCK_RULE_NET_PORT		2
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL		    (1ULL << 1)
#endif

/* Which kernel's Landlock knows what: its ABI versions. */
#define LANDLOCK_ABI_REFER    2
#define LANDLOCK_ABI_TRUNCATE 3
#define LANDLOCK_ABI_PORTS    4
#define LANDLOCK_ABI_IOCTL    5
#define LANDLOCK_ABI_SCOPES   6

/* struct landlock_ruleset_attr of kernel 6.12, landlock_net_port_attr of 6.7. */
struct ruleset_attributes {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};
struct port_attributes {
	uint64_t allowed_access;
	uint64_t port;
};

static int allow_port(int ruleset, uint64_t access, uint16_t port)
{
	const struct port_attributes rule = { .allowed_access = access,
					      .port = port };

	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_NET_PORT,
		    &rule, 0) < 0)
		return -errno;
	return 0;
}

static int restrict_ports(int ruleset, const uint16_t *ports, size_t count,
			  bool own_sources)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = allow_port(ruleset, LANDLOCK_ACCESS_NET_CONNECT_TCP,
				 ports[i]);
	if (!err && own_sources)
		err = allow_port(ruleset, LANDLOCK_ACCESS_NET_BIND_TCP, 0);
	return err;
}

/* Everything that Landlock of this ABI can forbid. Returns the size that the
 * structure has there. */
static size_t handle_all(long abi, bool unix_names,
			 struct ruleset_attributes *handled)
{
	*handled = (struct ruleset_attributes){
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
		.handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP |
				      LANDLOCK_ACCESS_NET_CONNECT_TCP,
		.scoped =
			LANDLOCK_SCOPE_SIGNAL |
			(unix_names ? 0 : LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET),
	};
	if (abi >= LANDLOCK_ABI_REFER)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= LANDLOCK_ABI_TRUNCATE)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= LANDLOCK_ABI_IOCTL)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;

	if (abi >= LANDLOCK_ABI_SCOPES)
		return sizeof(*handled);
	return abi >= LANDLOCK_ABI_PORTS
		       ? offsetof(struct ruleset_attributes, scoped)
		       : offsetof(struct ruleset_attributes,
				  handled_access_net);
}

/* No rule for files at all: none can be opened. */
enum landlock_reach landlock_restrict(const uint16_t *ports, size_t port_count,
				      bool unix_names, bool own_sources)
{
	struct ruleset_attributes handled;
	cleanup_fd int ruleset = -1;
	size_t size;
	long abi;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return LANDLOCKED_NOTHING;
	size = handle_all(abi, unix_names, &handled);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (ruleset < 0)
		return LANDLOCKED_NOTHING;
	if (abi >= LANDLOCK_ABI_PORTS &&
	    restrict_ports(ruleset, ports, port_count, own_sources) < 0)
		return LANDLOCKED_NOTHING;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return LANDLOCKED_NOTHING;
	if (abi >= LANDLOCK_ABI_SCOPES)
		return LANDLOCKED_PROCESSES;
	return abi >= LANDLOCK_ABI_PORTS ? LANDLOCKED_PORTS : LANDLOCKED_FILES;
}
