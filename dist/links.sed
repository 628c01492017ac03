# SPDX-License-Identifier: MIT
#
# For the documents that "make install" puts into one folder: what they link to
# is elsewhere in the tree of the sources.

# hooks.md
s,](\(dehydrated\|due\|uacme\)),](../../acme-alpn-proxy/hooks/\1),g
s,](\.\./dist/README\.md,](hosts.md,g
# hosts.md
s,\[hooks/README\.md\](,[hooks.md](,g
s,](\.\./hooks/README\.md,](hooks.md,g
s,](\(systemd\|kubernetes\)/,](examples/,g
s,](logrotate),](examples/logrotate),g
