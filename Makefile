# SPDX-License-Identifier: MIT
#: make                build build/acme-alpn-proxy
#: make install        to DESTDIR= PREFIX=/usr/local; make uninstall
#: make clean          remove build/
#: make help           all targets and settings
#= Settings: STATIC=1 one static binary, ARCH=arm64|armhf|riscv64 cross build,
#=           CFI=1 clang checks indirect calls, V=1 show commands,
#=           CC= CFLAGS= LDFLAGS=

PREFIX	?= /usr/local
SBINDIR	?= $(PREFIX)/sbin
DATADIR	?= $(PREFIX)/share
MANDIR	?= $(DATADIR)/man
BASHDIR	?= $(DATADIR)/bash-completion/completions
ZSHDIR	?= $(DATADIR)/zsh/site-functions
UNITDIR	?= $(PREFIX)/lib/systemd/system
HOOKSDIR := $(DATADIR)/acme-alpn-proxy/hooks
DOCDIR	:= $(DATADIR)/doc/acme-alpn-proxy
DESTDIR	?=
VERSION	:= 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
# For the tools of the build, which a cross compiler is of no use for.
HOSTCC	     ?= gcc
CLANG	     ?= clang
CLANG_FORMAT ?= clang-format
CLANG_TIDY   ?= clang-tidy
LLVM_STRIP   ?= llvm-strip
BPFTOOL	     ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
PYTHON	     ?= /usr/bin/python3

BUILD	?= build
STRIP	?= strip
branch_protection_x86_64  := -fcf-protection
branch_protection_aarch64 := -mbranch-protection=standard
include dist/architectures.mk
ifeq ($(STATIC),1)
BUILD	:= $(BUILD)/static
pie	:= $(or $(static_pie),-static-pie)
linkage	:= static
else
pie	:= -pie
linkage	:= dynamic
endif

ifeq ($(V),1)
say	:=
else
Q	:= @
say	= @printf '  %-8s %s\n' $(1) $@
endif

WARNINGS  := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	     -Wmissing-prototypes -Wold-style-definition -Wvla -Wundef \
	     -Wformat=2 -Wwrite-strings -Wpointer-arith
# make CFI=1: each call through a pointer is checked against the type of what it
# calls. Only clang has this, and clang 14 not together with -fcf-protection.
ifeq ($(CFI),1)
CC	:= $(CLANG)
BUILD	:= $(BUILD)/cfi
branch_protection := -flto -fvisibility=hidden -fsanitize=cfi \
	     -Wno-format-nonliteral
LDFLAGS	+= -fuse-ld=lld
endif
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection \
	     -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(branch_protection)
# The same sources give the same bytes in whatever folder they are.
HERE	  := '-ffile-prefix-map=$(CURDIR)=.'
CFLAGS	  ?= -O2 -g
CPPFLAGS  += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 \
	     -DVERSION='"$(VERSION)"' \
	     -DLINKAGE='"$(linkage)"' -I. -iquote include -iquote src \
	     -I$(BUILD)/bpf -MMD -MP
all_cflags   = -std=gnu17 $(WARNINGS) $(HARDENING) $(HERE) $(CFLAGS)
all_ldflags  = $(pie) -Wl,-z,relro,-z,now $(LDFLAGS)
libraries   := -lbpf -lelf -lz

sources	:= $(wildcard src/*.c src/*/*.c src/*/*/*.c)
objects	:= $(sources:%.c=$(BUILD)/%.o)
# All but main(): what the unit tests are linked with.
modules	:= $(filter-out $(BUILD)/src/main.o,$(objects))
program	:= $(BUILD)/acme-alpn-proxy

.DEFAULT_GOAL := all
.PHONY: all install uninstall clean help

include dist/completion/completion.mk

all: $(program) $(completions)

$(program): $(objects)
	$(call say,LD)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(libraries)

## The BPF programs, each with a skeleton

bpf_skeletons := $(patsubst bpf/%.bpf.c,$(BUILD)/bpf/%.skel.h,\
			$(wildcard bpf/*.bpf.c))

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,CLANG)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g $(HERE) -Wall -Wextra -Werror \
		-Wno-unused-parameter -fno-jump-tables \
		-I. -iquote include -MMD -MP -c -o $@ $<
	$(Q)$(LLVM_STRIP) -g $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_image >$@

$(objects): | $(bpf_skeletons) $(sysroot)

$(BUILD)/%.o: %.c
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -c -o $@ $<

## Installing

hooks	 := hooks/dehydrated hooks/due hooks/uacme
examples := dist/systemd/acme-renew.timer dist/kubernetes/acme-client.yaml \
	    dist/kubernetes/daemonset.yaml dist/logrotate
# What the documents and units name is where it is installed.
located	 := sed -e 's,/usr/local/share/,$(DATADIR)/,g' \
		-e 's,/usr/local/sbin/acme,$(SBINDIR)/acme,g' \
		-e 's,dist/kubernetes/,$(DOCDIR)/examples/,g'

install: $(program) $(completions)
	install -D -m 0755 $(program) $(DESTDIR)$(SBINDIR)/acme-alpn-proxy
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man8 man/acme-alpn-proxy.8
	install -D -m 0644 $(BUILD)/completion/bash \
		$(DESTDIR)$(BASHDIR)/acme-alpn-proxy
	install -D -m 0644 $(BUILD)/completion/zsh \
		$(DESTDIR)$(ZSHDIR)/_acme-alpn-proxy
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR) \
		dist/systemd/acme-alpn-proxy.service
	install -D -m 0755 -t $(DESTDIR)$(HOOKSDIR) $(hooks)
	install -D -m 0644 -t $(DESTDIR)$(HOOKSDIR) hooks/runs.sh
	$(located) -f dist/links.sed hooks/README.md | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(DOCDIR)/hooks.md
	$(located) -f dist/links.sed dist/README.md | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(DOCDIR)/hosts.md
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples $(examples)
	$(located) dist/systemd/acme-renew.service | install -m 0644 \
		/dev/stdin $(DESTDIR)$(DOCDIR)/examples/acme-renew.service

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/acme-alpn-proxy \
		$(DESTDIR)$(MANDIR)/man8/acme-alpn-proxy.8 \
		$(DESTDIR)$(BASHDIR)/acme-alpn-proxy \
		$(DESTDIR)$(ZSHDIR)/_acme-alpn-proxy \
		$(DESTDIR)$(UNITDIR)/acme-alpn-proxy.service
	rm -rf $(DESTDIR)$(DATADIR)/acme-alpn-proxy $(DESTDIR)$(DOCDIR)

clean:
	$(Q)rm -rf build

help:
	@sed -n 's/^#: //p' $(filter Makefile %.mk,$(MAKEFILE_LIST))
	@sed -n 's/^#= //p' Makefile

include dist/packages.mk tests/fuzz/fuzz.mk tests/tests.mk tests/bench/bench.mk tests/lint.mk

.DELETE_ON_ERROR:
.SECONDARY:

-include $(objects:.o=.d) $(bpf_skeletons:.skel.h=.bpf.d)
