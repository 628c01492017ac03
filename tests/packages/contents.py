# SPDX-License-Identifier: MIT
"""The files that every package has, and their modes."""

DOCUMENTS = "usr/share/doc/acme-alpn-proxy"
HOOKS = "usr/share/acme-alpn-proxy/hooks"
MANUAL = "usr/share/man/man8/acme-alpn-proxy.8"
UNIT = "usr/lib/systemd/system/acme-alpn-proxy.service"
LICENSE = "usr/share/licenses/acme-alpn-proxy/LICENSE"
SHARED = {
    **{f"{HOOKS}/{name}": 0o755 for name in ("dehydrated", "due", "uacme")},
    f"{HOOKS}/runs.sh": 0o644,
    **{f"{DOCUMENTS}/{name}": 0o644 for name in (
        "examples/acme-renew.service", "examples/acme-renew.timer",
        "examples/acme-client.yaml", "examples/daemonset.yaml",
        "examples/logrotate", "hooks.md", "hosts.md")},
    "usr/share/bash-completion/completions/acme-alpn-proxy": 0o644,
    "usr/share/zsh/site-functions/_acme-alpn-proxy": 0o644,
}
