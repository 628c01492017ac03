# SPDX-License-Identifier: MIT
#
#: make bench          beside HAProxy, nginx, ...; QUICK=1 for 5 min
#: make bench-workers  one worker beside two

$(BUILD)/bench/packet_cost: tests/bench/packet_cost.c $(modules)
	$(call say,CCLD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(all_cflags) -MF $@.d $(all_ldflags) -o $@ $< \
		$(modules) $(libraries)

.PHONY: bench
bench:
	$(Q)tests/install-packages build bench
	$(Q)$(MAKE) --no-print-directory $(program) $(BUILD)/bench/packet_cost
	$(Q)BUILD=$(CURDIR)/$(BUILD) PROGRAM=$(CURDIR)/$(program) tests/bench/run

# One worker beside several, on the cores that all share.
.PHONY: bench-workers
bench-workers:
	$(Q)tests/install-packages build bench
	$(Q)$(MAKE) --no-print-directory $(program)
	$(Q)BUILD=$(CURDIR)/$(BUILD) PROGRAM=$(CURDIR)/$(program) \
		tests/bench/workers

-include $(BUILD)/bench/packet_cost.d
