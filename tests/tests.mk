# SPDX-License-Identifier: MIT
#
#: make demo           as root: install what is missing, then a certificate
#:                     through port 443, in namespaces
#: make check          as root: install what is missing, run all tests
#: make check-kernels  the redirect on kernels 5.10 to newest, in QEMU
#: make check-valgrind the worker under valgrind
#: make check-containers
#:                     as root: the redirect with Docker and Podman
#: make check-sanitizers
#:                     as root: tests under ASan, UBSan, TSan and CFI
#: make check-packages as root: packages, service and container, tested

unit_tests := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,\
		$(wildcard tests/unit/test_*.c))
# What the bench loads with, tests load with as well.
bench_tools := $(BUILD)/tools/load $(BUILD)/tools/backend
tools := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c)) \
	 $(bench_tools)
# What several unit tests share.
unit_helpers := $(patsubst %.c,$(BUILD)/%.o,\
		$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))

$(BUILD)/unit/%: tests/unit/%.c $(unit_helpers) $(modules)
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ $< \
		$(unit_helpers) $(modules) -lcmocka $(libraries)

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
tests-build: $(program) $(unit_tests) $(fuzz_targets) $(tools) \
	     $(BUILD)/bench/packet_cost

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
kernel_tests := unit/test_handoff unit/test_steering unit/test_tc
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

-include $(unit_tests:=.d) $(unit_helpers:.o=.d) $(tools:=.d)
