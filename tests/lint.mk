# SPDX-License-Identifier: MIT
#
#: make lint           clang-format, clang-tidy, cppcheck, shellcheck,
#:                     gcc -fanalyzer; are the fuzz seeds those of make
#:                     seeds?

c_files := $(wildcard src/*.c src/*/*.[ch] src/*/*/*.[ch] \
	     include/*/*.h include/*/*/*.h bpf/*.[ch] \
	     tests/unit/*.[ch] tests/fuzz/*.[ch] tests/tools/*.[ch] \
	     tests/bench/*.[ch] tests/kernels/*.c dist/*/*.c)

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
		xargs shellcheck hooks/runs.sh tests/kernels/guest tests/kernels/checks/*
	$(Q)rm -rf $(BUILD)/seeds && mkdir $(BUILD)/seeds && \
		$(BUILD)/fuzz/make_seeds $(BUILD)/seeds && \
		diff -r $(BUILD)/seeds tests/fuzz/seeds
