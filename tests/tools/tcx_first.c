/* SPDX-License-Identifier: MIT */
/*
 * tcx_first DEVICE: a program that comes first in the tcx chain of DEVICE, and
 * ends it for every packet. Says "ready", and goes with its standard input.
 */
#include <linux/bpf.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers (kernel 6.6). */
#define ATTACH_TYPE_TCX_INGRESS 46
#define ATTACH_BEFORE_OTHERS	(1U << 3)

static int bpf(int command, union bpf_attr *attributes)
{
	int fd =
		(int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));

	if (fd >= 0)
		return fd;
	perror("tcx_first");
	exit(EXIT_FAILURE);
}

static int load(void)
{
	/* return TC_ACT_OK; */
	static const struct bpf_insn end[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attributes.insns = (uintptr_t)end;
	attributes.insn_cnt = sizeof(end) / sizeof(end[0]);
	attributes.license = (uintptr_t) "MIT";
	strcpy(attributes.prog_name, "foreign");
	return bpf(BPF_PROG_LOAD, &attributes);
}

int main(int argc, char *argv[])
{
	union bpf_attr attributes;
	char byte;

	if (argc != 2) {
		fprintf(stderr, "usage: tcx_first DEVICE\n");
		return 2;
	}
	memset(&attributes, 0, sizeof(attributes));
	attributes.link_create.prog_fd = (uint32_t)load();
	attributes.link_create.target_ifindex = if_nametoindex(argv[1]);
	attributes.link_create.attach_type = ATTACH_TYPE_TCX_INGRESS;
	attributes.link_create.flags = ATTACH_BEFORE_OTHERS;
	bpf(BPF_LINK_CREATE, &attributes);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	return EXIT_SUCCESS;
}
