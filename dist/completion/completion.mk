# SPDX-License-Identifier: MIT
#
# Completions for bash and zsh, filled in from the table of options.

completions := $(BUILD)/completion/bash $(BUILD)/completion/zsh

$(BUILD)/completion/table: dist/completion/table.c src/command/options.c \
		src/hello/domain_list.c src/base/address.c src/base/fd.c
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

-include $(BUILD)/completion/table.d
