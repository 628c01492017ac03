# SPDX-License-Identifier: MIT
#
# make ARCH=arm64|armhf|riscv64 cross-compiles with Debian's compilers. Debian
# has the libraries for arm64 beside the host's own; those for the others, which
# link statically only, are fetched into a folder and nothing on the host
# changes: Debian 12 has none for riscv64.

cross_arm64	:= aarch64-linux-gnu-
cross_armhf	:= arm-linux-gnueabihf-
cross_riscv64	:= riscv64-linux-gnu-
sysroot_of_armhf   := bookworm
sysroot_of_riscv64 := forky
SYSROOTS ?= build/sysroots
# The C library for armhf has no start file for position-independent static
# programs; gcc 12 does not know that riscv64 has. For that one, Debian 13's
# libelf.a lacks what it calls; the next one's needs zstd and has a crc32() equal
# to zlib's, and binutils 2.40 cannot read its objects.
static_pie_armhf   := -static
static_pie_riscv64 := -static-pie -fuse-ld=lld -B/usr/lib/llvm-19/bin \
	-Wl,-static,-pie,--no-dynamic-linker,-z,text,-z,muldefs -lzstd

# What "uname -m" calls each.
machine_arm64	:= aarch64
machine_armhf	:= armv7l
machine_riscv64	:= riscv64

ifneq ($(ARCH),)
cross	:= $(cross_$(ARCH))
ifeq ($(cross),)
$(error ARCH=$(ARCH) is not known: leave it out, or say one of arm64 armhf riscv64)
endif
CC	:= $(cross)gcc
STRIP	:= $(cross)strip
BUILD	:= $(BUILD)/$(ARCH)
MACHINE	:= $(machine_$(ARCH))
ifneq ($(sysroot_of_$(ARCH)),)
STATIC	:= 1
static_pie := $(static_pie_$(ARCH))
sysroot	:= $(SYSROOTS)/$(ARCH)
# Before the compiler's own folders, where there may be an older C library.
sysroot_libraries := $(abspath $(sysroot))/usr/lib/$(cross:-=)
CC	+= --sysroot=$(abspath $(sysroot)) -B$(sysroot_libraries)
LDFLAGS	+= -L$(sysroot_libraries)

$(sysroot):
	$(Q)tests/kernels/fetch $(ARCH) $(sysroot_of_$(ARCH)) $@ \
		libbpf-dev libc6-dev libelf-dev zlib1g-dev
endif
else
MACHINE	:= $(shell uname -m)
endif

# What a processor can check of jumps and returns.
branch_protection := $(branch_protection_$(MACHINE))
