// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <bpf/libbpf.h>
#include <stdio.h>

#if defined(__x86_64__)
#define ARCHITECTURE "x86-64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#elif defined(__arm__)
#define ARCHITECTURE "armv7"
#elif defined(__riscv)
#define ARCHITECTURE "riscv64"
#endif

int command_version(const struct options *options)
{
	(void)options;
	printf("acme-alpn-proxy %s\n"
	       "%s, %s, libbpf %u.%u\n"
	       "redirects: bpf (Linux 5.10 or newer), iptables, none\n",
	       VERSION, ARCHITECTURE, LINKAGE, libbpf_major_version(),
	       libbpf_minor_version());
	return EXIT_CODE_DONE;
}
