# SPDX-License-Identifier: MIT
#
# make             build build/acme-alpn-proxy
# make help        all targets and settings

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

# make ARCH=arm64 cross-compiles with Debian's gcc-aarch64-linux-gnu.
BUILD	?= build
STRIP	?= strip
ifeq ($(ARCH),arm64)
CC	:= aarch64-linux-gnu-gcc
STRIP	:= aarch64-linux-gnu-strip
BUILD	:= $(BUILD)/arm64
else ifneq ($(ARCH),)
$(error ARCH=$(ARCH) is not known: leave it out, or say ARCH=arm64)
endif
ifeq ($(STATIC),1)
BUILD	:= $(BUILD)/static
pie	:= -static-pie
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
	     -Wformat=2 -Wwrite-strings -Wpointer-arith -Wcast-align
ifeq ($(or $(ARCH),$(shell uname -m)),x86_64)
branch_protection := -fcf-protection
else
branch_protection := -mbranch-protection=standard
endif
# make CFI=1: each call through a pointer is checked against the type of what it
# calls. Only clang has this, and clang 14 not together with -fcf-protection.
ifeq ($(CFI),1)
CC	:= $(CLANG)
BUILD	:= $(BUILD)/cfi
branch_protection := -flto -fvisibility=hidden -fsanitize=cfi \
	     -Wno-cast-align -Wno-format-nonliteral
LDFLAGS	+= -fuse-ld=lld
endif
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection \
	     -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(branch_protection)
# The same sources give the same bytes in whatever folder they are.
HERE	  := '-ffile-prefix-map=$(CURDIR)=.'
CFLAGS	  ?= -O2 -g
CPPFLAGS  += -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
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
c_files	:= $(wildcard src/*.c src/*/*.[ch] src/*/*/*.[ch] \
	     include/*/*.h include/*/*/*.h bpf/*.[ch] \
	     tests/unit/*.[ch] tests/fuzz/*.[ch] tests/tools/*.[ch] \
	     tests/bench/*.[ch] tests/kernels/*.c dist/*/*.c)

completions := $(BUILD)/completion/bash $(BUILD)/completion/zsh

.PHONY: all
all: $(program) $(completions)

$(program): $(objects)
	$(call say,LD)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(libraries)

## The steering program: one source, two objects (see bpf/steer.bpf.c)

bpf_skeletons := $(BUILD)/bpf/steer_plain.skel.h \
		 $(BUILD)/bpf/steer_conntrack.skel.h
$(BUILD)/bpf/steer_conntrack.bpf.o: bpf_defines := -DSTEER_CONNTRACK

$(BUILD)/bpf/steer_%.bpf.o: bpf/steer.bpf.c $(wildcard bpf/*.h vmlinux/*.h)
	$(call say,CLANG)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g $(HERE) -Wall -Wextra -Werror \
		-Wno-unused-parameter -fno-jump-tables -I. \
		$(bpf_defines) -c -o $@ $<
	$(Q)$(LLVM_STRIP) -g $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name $* >$@

$(objects): | $(bpf_skeletons)

$(BUILD)/%.o: %.c
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -c -o $@ $<

$(BUILD)/completion/table: dist/completion/table.c src/command/options.c \
		src/hello/domain_list.c src/base/address.c
	$(call say,HOSTCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu17 -D_GNU_SOURCE -iquote include -iquote src -MMD -MF $@.d \
		-o $@ $^

$(BUILD)/completion/table.tsv: $(BUILD)/completion/table
	$(Q)$< >$@

$(completions): $(BUILD)/completion/%: $(BUILD)/completion/table.tsv \
		dist/completion/%.in dist/completion/fill.awk
	$(call say,AWK)
	$(Q)awk -f dist/completion/fill.awk $(wordlist 1,2,$^) >$@

## Tests

unit_tests := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,\
		$(wildcard tests/unit/test_*.c))
# What the bench loads with, tests load with as well.
bench_tools := $(BUILD)/tools/load $(BUILD)/tools/backend
fuzz_targets := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,\
		$(wildcard tests/fuzz/fuzz_*.c))
tools := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c)) \
	 $(bench_tools)

proxy_fixture := $(BUILD)/tests/unit/proxy_fixture.o
$(BUILD)/unit/test_proxy $(BUILD)/unit/test_late \
	$(BUILD)/unit/test_shared_page: $(proxy_fixture)

$(BUILD)/unit/%: tests/unit/%.c $(modules)
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ $< \
		$(filter %.o,$^) -lcmocka $(libraries)

# A target is built with src/hello, src/base and the pure modules named here,
# so that all code behind it is instrumented.
modules_of_fuzz_options	   := src/command/options.c
modules_of_fuzz_proxy_header := src/proxy/proxy_header.c
modules_of_fuzz_rulespec   := src/redirect/rules/rulespec.c
modules_of_fuzz_status_report := src/command/common.c src/status/socket.c src/instance/pidfile.c \
				 src/supervisor/confinement.c
modules_of_fuzz_rule_table := src/redirect/rules/rule_table.c \
			      src/redirect/rules/rulespec.c src/redirect/rules/published.c \
			      src/redirect/rules/input_firewall.c src/redirect/rules/xtables.c

.SECONDEXPANSION:
$(BUILD)/fuzz/%: tests/fuzz/%.c $(wildcard src/hello/*.c src/base/*.c) \
		$$(modules_of_$$*)
	$(call say,FUZZ)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -std=gnu17 $(CPPFLAGS) $(CFLAGS) -MF $@.d -fno-sanitize-recover=all \
		-fsanitize=fuzzer,address,undefined -o $@ $(filter %.c,$^)

$(BUILD)/fuzz/make_seeds: tests/fuzz/make_seeds.c tests/unit/hello_builder.h
	$(call say,HOSTCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu17 -D_GNU_SOURCE -I. -iquote include -iquote src -o $@ $<

.PHONY: seeds
seeds: $(BUILD)/fuzz/make_seeds
	$(Q)$< tests/fuzz/seeds

$(BUILD)/tools/%: tests/tools/%.c
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ $< \
		-lssl -lcrypto -pthread

$(bench_tools): $(BUILD)/tools/%: tests/bench/%.c tests/bench/exchange.c
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ \
		$(filter %.c,$^)

.PHONY: tests-build
tests-build: $(program) $(unit_tests) $(fuzz_targets) $(tools)

.PHONY: check
check:
	$(Q)tests/install-packages build test
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) tests-build
	$(Q)BUILD=$(BUILD) PYTHON=$(PYTHON) tests/run

# The worker's loop and what it is made of, under valgrind's memcheck; an error
# in a process that a test forked fails that test.
memory_tests := $(BUILD)/unit/test_flow $(BUILD)/unit/test_proxy
.PHONY: check-valgrind
check-valgrind:
	$(Q)tests/install-packages build test valgrind
	$(Q)$(MAKE) --no-print-directory $(memory_tests)
	$(Q)set -e; for test in $(memory_tests); do \
		valgrind --quiet --error-exitcode=99 --leak-check=full \
			--errors-for-leak-kinds=definite,indirect,possible \
			$$test; \
	done

# Built with sanitizers, and with CFI=1, in folders of their own.
# AddressSanitizer makes system calls that the worker's filter refuses when a
# process ends, so that the test of the filter is none for it; a fault in the
# worker ends the worker, which the system tests notice. No part of the program
# has threads: ThreadSanitizer looks at the page that its processes share, and
# at the tests' visitors.
sanitized := -O1 -g -U_FORTIFY_SOURCE -fno-omit-frame-pointer \
	     -fno-sanitize-recover=all
address_build := $(BUILD)/address
thread_build  := $(BUILD)/thread
# LeakSanitizer cannot look under strace, which the one left out needs.
address_tests := $(addprefix tests/system/test_,attack.py domains.py hello.py \
		 refusal.py status.py transfer.py) \
		 --deselect tests/system/test_refusal.py::test_bpf_is_forbidden

.PHONY: check-sanitizers
check-sanitizers:
	$(Q)tests/install-packages build test sanitizers
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(address_build) \
		CFLAGS='$(sanitized) -fsanitize=address,undefined' \
		$(patsubst $(BUILD)/%,$(address_build)/%,\
			$(program) $(unit_tests) $(tools))
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(thread_build) \
		CFLAGS='$(sanitized) -fsanitize=thread' \
		$(thread_build)/unit/test_shared_page \
		$(patsubst $(BUILD)/%,$(thread_build)/%,$(tools))
	$(Q)$(MAKE) --no-print-directory $(program) $(tools)
	$(Q)$(MAKE) --no-print-directory CFI=1
	$(Q)BUILD=$(BUILD) PYTHON=$(PYTHON) ONLY=system \
		PROGRAM=$(CURDIR)/$(BUILD)/cfi/acme-alpn-proxy \
		SYSTEM_TESTS='$(address_tests)' tests/run
	$(Q)BUILD=$(address_build) PYTHON=$(PYTHON) ONLY='unit system' \
		UNIT_TESTS='$(filter-out %/test_confinement.c,\
			$(wildcard tests/unit/test_*.c))' \
		SYSTEM_TESTS='$(address_tests)' tests/run
	$(Q)BUILD=$(thread_build) PYTHON=$(PYTHON) ONLY='unit system' \
		PROGRAM=$(CURDIR)/$(program) TSAN_OPTIONS=halt_on_error=1 \
		UNIT_TESTS=tests/unit/test_shared_page.c SYSTEM_JOBS=1 \
		SYSTEM_TESTS=tests/system/test_operations.py::test_starts_and_stops_of_several_shells \
		tests/run

# The redirect on Debian's kernels from 5.10 to the newest, booted in QEMU, with
# those of the unit tests that ask the kernel.
kernel_tests := unit/test_steering unit/test_tc
.PHONY: check-kernels
check-kernels:
	$(Q)tests/install-packages build kernels arm64
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) STATIC=1
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) STATIC=1 ARCH=arm64
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) $(kernel_tests:%=$(BUILD)/%)
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) ARCH=arm64 \
		$(kernel_tests:%=$(BUILD)/arm64/%)
	$(Q)BUILD=$(BUILD) tests/kernels/run

# The redirect in front of Docker and Podman.
.PHONY: check-containers
check-containers:
	$(Q)tests/install-packages build test containers
	$(Q)$(MAKE) --no-print-directory $(program) $(tools)
	$(Q)PROGRAM=$(CURDIR)/$(program) TOOLS=$(CURDIR)/$(BUILD)/tools \
		$(PYTHON) -m pytest -p no:cacheprovider -q -rfEs tests/containers

$(BUILD)/bench/steer_cost: tests/bench/steer_cost.c $(modules)
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ $< \
		$(modules) $(libraries)

.PHONY: bench
bench:
	$(Q)tests/install-packages build bench
	$(Q)$(MAKE) --no-print-directory $(program) $(BUILD)/bench/steer_cost
	$(Q)BUILD=$(CURDIR)/$(BUILD) PROGRAM=$(CURDIR)/$(program) tests/bench/run

# One worker beside several, on the cores that all share.
.PHONY: bench-workers
bench-workers:
	$(Q)tests/install-packages build bench
	$(Q)$(MAKE) --no-print-directory $(program)
	$(Q)BUILD=$(CURDIR)/$(BUILD) PROGRAM=$(CURDIR)/$(program) \
		tests/bench/workers

.PHONY: check-packages
check-packages:
	$(Q)tests/install-packages build test packages arm64
	$(Q)$(MAKE) --no-print-directory $(tools)
	$(Q)TOOLS=$(CURDIR)/$(BUILD)/tools $(PYTHON) -m pytest \
		-p no:cacheprovider -q -rfEs tests/packages

.PHONY: demo
demo:
	$(Q)tests/install-packages build test
	$(Q)$(MAKE) --no-print-directory -s $(program) $(tools)
	$(Q)BUILD=$(BUILD) PROGRAM=$(program) tests/demo/demo

.PHONY: lint
lint:
	$(Q)tests/install-packages build lint
	$(Q)$(MAKE) --no-print-directory $(program) $(BUILD)/fuzz/make_seeds
	$(Q)$(CLANG_FORMAT) --dry-run --Werror $(c_files)
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability \
		--inline-suppr --error-exitcode=1 -Iinclude -D__x86_64__ \
		'-DLIBBPF_OPTS(type,name,...)=struct type name={0}' \
		'-DTAILQ_HEAD(name,type)=struct {struct type *first;}' \
		'-DTAILQ_ENTRY(type)=struct {struct type *next;}' src
	$(Q)$(CLANG_TIDY) --quiet $(sources) -- -std=gnu17 $(CPPFLAGS)
	$(Q)set -e; for file in $(sources); do \
		$(HOSTCC) $(filter-out -MMD -MP,$(CPPFLAGS)) -std=gnu17 \
			-O2 -fanalyzer $(WARNINGS) -c -o /dev/null $$file; \
	done
	$(Q)grep -rlE '^#!/bin/(ba)?sh' --exclude='*.py' .ci hooks dist tests | \
		xargs shellcheck tests/kernels/guest tests/kernels/checks/*
	$(Q)rm -rf $(BUILD)/seeds && mkdir $(BUILD)/seeds && \
		$(BUILD)/fuzz/make_seeds $(BUILD)/seeds && \
		diff -r $(BUILD)/seeds tests/fuzz/seeds

## Installing

examples := dist/systemd/acme-renew.service dist/systemd/acme-renew.timer \
	    dist/kubernetes/daemonset.yaml dist/logrotate

.PHONY: install
install: $(program) $(completions)
	install -D -m 0755 $(program) $(DESTDIR)$(SBINDIR)/acme-alpn-proxy
	install -D -m 0644 man/acme-alpn-proxy.8 \
		$(DESTDIR)$(MANDIR)/man8/acme-alpn-proxy.8
	install -D -m 0644 $(BUILD)/completion/bash \
		$(DESTDIR)$(BASHDIR)/acme-alpn-proxy
	install -D -m 0644 $(BUILD)/completion/zsh \
		$(DESTDIR)$(ZSHDIR)/_acme-alpn-proxy
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR) \
		dist/systemd/acme-alpn-proxy.service
	install -D -m 0755 -t $(DESTDIR)$(HOOKSDIR) hooks/dehydrated hooks/uacme
	sed -f dist/links.sed hooks/README.md | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(DOCDIR)/hooks.md
	sed -f dist/links.sed dist/README.md | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(DOCDIR)/hosts.md
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples $(examples)

.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/acme-alpn-proxy \
		$(DESTDIR)$(MANDIR)/man8/acme-alpn-proxy.8 \
		$(DESTDIR)$(BASHDIR)/acme-alpn-proxy \
		$(DESTDIR)$(ZSHDIR)/_acme-alpn-proxy \
		$(DESTDIR)$(UNITDIR)/acme-alpn-proxy.service
	rm -rf $(DESTDIR)$(DATADIR)/acme-alpn-proxy $(DESTDIR)$(DOCDIR)

## Packages, see dist/README.md

package_settings = BUILD=$(BUILD) VERSION=$(VERSION) STRIP=$(STRIP) \
	MAKE=$(MAKE) ARCHITECTURE=$(or $(ARCH),$(shell dpkg --print-architecture)) \
	SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell \
		git log -1 --format=%ct 2>/dev/null || date -r dist/package +%s))

.PHONY: deb
deb: $(program) $(completions)
	$(Q)$(package_settings) dist/package deb

.PHONY: tarball
ifeq ($(STATIC),1)
tarball: $(program) $(completions)
	$(Q)$(package_settings) dist/package tarball
else
tarball:
	$(Q)$(MAKE) --no-print-directory STATIC=1 tarball
endif

.PHONY: clean
clean:
	$(Q)rm -rf build

.PHONY: help
help:
	@echo 'make                build $(program)'
	@echo 'make demo           as root: install what is missing, then a'
	@echo '                    certificate through port 443, in namespaces'
	@echo 'make check          as root: install what is missing, run all tests'
	@echo 'make check-kernels  the redirect on kernels 5.10 to newest, in QEMU'
	@echo 'make check-valgrind the worker under valgrind'
	@echo 'make check-containers as root: the redirect with Docker and Podman'
	@echo 'make bench          beside HAProxy, nginx, ...; QUICK=1 for 3 min'
	@echo 'make bench-workers  one worker beside two'
	@echo 'make check-sanitizers'
	@echo '                    as root: tests under ASan, UBSan, TSan and CFI'
	@echo 'make check-packages as root: packages, service and container, tested'
	@echo 'make lint           clang-format, clang-tidy, cppcheck, shellcheck,'
	@echo '                    gcc -fanalyzer; are the fuzz seeds those of make'
	@echo '                    seeds?'
	@echo 'make install        to DESTDIR= PREFIX=/usr/local'
	@echo 'make deb            a Debian package in dist/'
	@echo 'make tarball        a static binary and all that belongs to it'
	@echo 'make clean          remove build/'
	@echo 'Settings: STATIC=1 one static binary, ARCH=arm64 cross build,'
	@echo '          CFI=1 clang checks indirect calls, V=1 show commands,'
	@echo '          CC= CFLAGS= LDFLAGS='

.DELETE_ON_ERROR:
.SECONDARY:

-include $(objects:.o=.d) $(proxy_fixture:.o=.d) $(unit_tests:=.d) $(fuzz_targets:=.d) $(tools:=.d) \
	$(BUILD)/completion/table.d $(BUILD)/bench/steer_cost.d
