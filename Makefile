# SPDX-License-Identifier: MIT
#
# make             build build/acme-alpn-proxy
# make help        all targets

PREFIX	?= /usr/local
SBINDIR	?= $(PREFIX)/sbin
MANDIR	?= $(PREFIX)/share/man
DESTDIR	?=
VERSION	:= 0.1.0

CC	:= $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
CLANG	?= clang
BPFTOOL	?= $(firstword $(shell command -v bpftool) /usr/sbin/bpftool)
LLVM_STRIP ?= llvm-strip
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format

# make ARCH=arm64 cross-compiles with Debian's gcc-aarch64-linux-gnu.
ifeq ($(ARCH),arm64)
CC		:= aarch64-linux-gnu-gcc
BUILD		?= build/arm64
else ifneq ($(ARCH),)
$(error ARCH=$(ARCH) is not known; leave it out or say ARCH=arm64)
endif
BUILD	?= build

ifneq ($(V),1)
Q	:= @
say	= @printf '  %-7s %s\n' $(1) $(2)
endif

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	    -Wmissing-prototypes -Wold-style-definition -Wvla -Wundef \
	    -Wformat=2 -Wwrite-strings -Wpointer-arith -Wcast-align
HARDENING := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
CFLAGS	?= -O2 -g
all_cflags = -std=gnu17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(WARNINGS) \
	     $(HARDENING) -Iinclude -I$(BUILD)/bpf -I. -MMD -MP $(CFLAGS)
ifeq ($(STATIC),1)
all_ldflags = -static-pie -Wl,-z,relro,-z,now $(LDFLAGS)
BUILD	:= $(BUILD)/static
else
all_ldflags = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
endif
libraries := -lbpf -lelf -lz

sources := $(wildcard src/*.c src/*/*.c)
objects := $(sources:%.c=$(BUILD)/%.o)
bpf_sources := $(wildcard bpf/*.bpf.c)
program := $(BUILD)/acme-alpn-proxy

.PHONY: all
all: $(program)

$(program): $(objects)
	$(call say,LD,$@)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(libraries)

$(BUILD)/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) -c -o $@ $<

-include $(objects:.o=.d)

.PHONY: clean
clean:
	$(Q)rm -rf build

.DELETE_ON_ERROR:
