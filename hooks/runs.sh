# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# What hooks share: several runs of a client at one time have one proxy and one
# responder, which end with the last run. Each is a file of its process's number
# in $STATE/runs. Everything is done under a lock.

# cron's lacks what is for root.
PATH=$PATH:/usr/local/sbin:/usr/sbin

# The client's process above us, by a name that begins with $1: its topmost,
# because it may call from a shell below it. 0, which is nobody, if there is
# none: such a run ends with the next one.
client_above() {
	found=0
	above=$PPID
	while [ "${above:-0}" -gt 1 ]; do
		if tr '\0' '\n' <"/proc/$above/cmdline" | head -n 2 |
			grep -q "^\(.*/\)\?$1[^/]*\$"; then
			found=$above
		fi
		above=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$above/status")
	done
	echo "$found"
}

# What else is started must not keep the lock: 9>&-.
lock_state() {
	exec 9>>"$STATE.lock"
	flock 9
}

# begin_run CLIENT WORD...: note it, and what it wants noted.
begin_run() {
	mkdir -p "$STATE/runs"
	run=$(client_above "$1")
	shift
	echo "$*" >"$STATE/runs/$run"
}

# end_run CLIENT: is it the last? Those that were killed do not count.
end_run() {
	rm -f "$STATE/runs/$(client_above "$1")"
	for run in "$STATE"/runs/*; do
		if [ -d "/proc/${run##*/}" ]; then
			return 1
		fi
	done
}

# Whoever started it before us will stop it.
start_proxy() {
	if acme-alpn-proxy status >/dev/null; then
		return
	fi
	: >"$STATE/started"
	# shellcheck disable=SC2086 # several words
	acme-alpn-proxy $PROXY_OPTIONS start --daemon 9>&-
}

# Without the state, so that the next run begins anew.
stop_proxy() {
	started=
	[ ! -e "$STATE/started" ] || started=yes
	rm -rf "$STATE"
	[ -z "$started" ] || acme-alpn-proxy stop 9>&-
}
