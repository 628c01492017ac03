# SPDX-License-Identifier: MIT
#
# The fuzz targets. All modules are built once more, instrumented, so that a
# target sees into whatever is behind it; it takes what it calls from the
# archive. One that includes a module's source has that module's functions
# already, and so takes no second ones.

fuzz_targets := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,\
		$(wildcard tests/fuzz/fuzz_*.c))
fuzz_archive := $(BUILD)/fuzz/modules.a
fuzz_objects := $(modules:$(BUILD)/%=$(BUILD)/fuzz/%)
fuzz_compile  = $(CLANG) -std=gnu17 $(CPPFLAGS) $(CFLAGS) \
		-fno-sanitize-recover=all -fsanitize=$(1),address,undefined

$(fuzz_objects): $(BUILD)/fuzz/%.o: %.c | $(bpf_skeletons)
	$(call say,FUZZ)
	$(Q)mkdir -p $(@D)
	$(Q)$(call fuzz_compile,fuzzer-no-link) -c -o $@ $<

# Made anew: it must not keep a module that is no more.
$(fuzz_archive): $(fuzz_objects)
	$(call say,AR)
	$(Q)rm -f $@ && ar -rc $@ $^

$(fuzz_targets): $(BUILD)/fuzz/%: tests/fuzz/%.c $(fuzz_archive)
	$(call say,FUZZ)
	$(Q)$(call fuzz_compile,fuzzer) -MF $@.d -o $@ $< \
		$(fuzz_archive) $(libraries)

$(BUILD)/fuzz/make_seeds: tests/fuzz/make_seeds.c
	$(call say,HOSTCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu17 $(CPPFLAGS) -MF $@.d -o $@ $<

.PHONY: seeds
seeds: $(BUILD)/fuzz/make_seeds
	$(Q)$< tests/fuzz/seeds

-include $(fuzz_targets:=.d) $(fuzz_objects:.o=.d) $(BUILD)/fuzz/make_seeds.d
