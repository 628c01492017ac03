# SPDX-License-Identifier: MIT
# Packages, see dist/README.md.
#
#: make dist           all of these for all machines, SHA256SUMS and an SBOM
#: make deb            a Debian package in dist/
#: make rpm            an RPM package of a static binary
#: make tarball        a static binary and all that belongs to it
#: make sources        the sources as a tarball
#: make alpine arch    the sources with what abuild or makepkg needs

package_settings = BUILD=$(BUILD) VERSION=$(VERSION) STRIP=$(STRIP) \
	MAKE=$(MAKE) MACHINE=$(MACHINE) \
	ARCHITECTURE=$(or $(ARCH),$(shell dpkg --print-architecture)) \
	SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell \
		git log -1 --format=%ct 2>/dev/null || date -r dist/package +%s))

.PHONY: deb rpm tarball sources alpine arch dist static
deb: $(program) $(completions)
	$(Q)$(package_settings) dist/package $@

ifeq ($(STATIC),1)
rpm tarball: $(program) $(completions)
	$(Q)$(package_settings) dist/package $@
else
static:
	$(Q)$(MAKE) -s --no-print-directory STATIC=1

rpm tarball: static
	$(Q)$(MAKE) --no-print-directory STATIC=1 $@
endif

alpine arch: sources
sources alpine arch:
	$(Q)$(package_settings) dist/package $@

# Those that are cross-compiled; a program of armv7 or riscv64 is always static.
cross_dynamic := $(filter-out $(shell dpkg --print-architecture),arm64)
cross_static  := $(cross_dynamic) armhf riscv64

dist:
	$(Q)rm -f dist/acme-alpn-proxy[-_]* dist/SHA256SUMS
	$(Q)$(MAKE) --no-print-directory deb rpm tarball sources alpine arch
	$(Q)set -e; for arch in $(cross_dynamic); do \
		$(MAKE) --no-print-directory ARCH=$$arch deb; done
	$(Q)set -e; for arch in $(cross_static); do \
		$(MAKE) --no-print-directory ARCH=$$arch rpm tarball; done
	$(Q)$(package_settings) SYSROOTS=$(SYSROOTS) $(PYTHON) dist/sbom
	$(Q)cd dist && sha256sum acme-alpn-proxy[-_]* >SHA256SUMS
