# SPDX-License-Identifier: MIT
"""The Debian package on a Debian: installed, started, removed, no trace."""

import re

import pytest

from conftest import ROOT
from debian import Machine
from harness.documents import command

# A device, a client behind it, and a web server.
NETWORK = """
ip netns add client
ip link add outside type veth peer name eth0 netns client
ip address add 192.0.2.1/24 dev outside
ip link set outside up
ip -n client address add 192.0.2.2/24 dev eth0
ip -n client link set eth0 up
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \\
    -subj /CN=www.example.test -keyout /tmp/key -out /tmp/certificate 2>/dev/null
cat >/tmp/nginx.conf <<'EOF'
events {}
http { access_log off; server {
    listen 443 ssl; ssl_certificate /tmp/certificate;
    ssl_certificate_key /tmp/key; return 200 "$remote_addr\\n"; } }
EOF
nginx -c /tmp/nginx.conf >/dev/null 2>&1
"""
VISIT = """
printf 'GET / HTTP/1.0\\r\\n\\r\\n' | ip netns exec client timeout 5 openssl \\
    s_client -quiet -connect 192.0.2.1:443 2>/dev/null | tail -n 1
"""
# The second is made of the first.
DIRECTLY, THROUGH_PROXY = "192.0.2.2", "127.17.12.222"


INSTALL = command("dist/README.md", "dpkg --install", {
    "dist/acme-alpn-proxy_0.1.0_amd64.deb": "/root/package.deb"}).split()
PURGE = ("dpkg", "--purge", "acme-alpn-proxy")


@pytest.fixture
def machine(debian, package):
    """A machine on which the package is installed."""
    debian.offer(package)
    made = Machine(debian)
    made.run(*INSTALL)
    yield made
    made.stop()


def test_installs_and_is_purged_without_a_trace(debian, package):
    debian.offer(package)
    before = debian.files()
    debian.run(*INSTALL)
    assert debian.run("acme-alpn-proxy", "--version").stdout
    installed = set(debian.files()) - set(before)
    assert "usr/sbin/acme-alpn-proxy" in installed
    assert "lib/systemd/system/acme-alpn-proxy.service" in {
        name.removeprefix("usr/") for name in installed}
    (debian.root / "var/log/acme-alpn-proxy.log").write_text("a line\n")
    debian.run(*PURGE)
    assert debian.files() == before
    assert not (debian.root / "var/log/acme-alpn-proxy.log").exists()


@pytest.mark.parametrize("redirect", ["handoff", "steer", "iptables"])
def test_service_serves_and_leaves_nothing(machine, redirect):
    machine.shell(NETWORK)
    rules = machine.shell("iptables -t nat -S; ip6tables -t nat -S")
    machine.shell(f"echo OPTIONS=--redirect={redirect} "
                  ">/etc/default/acme-alpn-proxy")
    machine.shell(command("dist/README.md", "systemctl start acme-alpn"))
    # Type=notify: it serves from the moment that the start is done.
    assert machine.shell(VISIT).strip() == (
        DIRECTLY if redirect == "handoff" else THROUGH_PROXY)
    status = machine.shell("acme-alpn-proxy status")
    assert f"redirect: {redirect}," in status
    # The sandbox of the service leaves the worker all of its own.
    confined = re.search(r"confined by (.*)", status).group(1).split()
    assert {"user", "capabilities", "root", "files", "calls"} <= set(confined)
    shown = machine.shell("systemctl show -p StatusText acme-alpn-proxy")
    assert f"{redirect} redirect of port 443 is in place" in shown
    machine.shell(command("dist/README.md", "systemctl stop"))
    assert machine.shell(VISIT).strip() == DIRECTLY
    assert machine.shell("iptables -t nat -S; ip6tables -t nat -S") == rules
    assert "Result=success" in machine.shell(
        "systemctl show -p Result acme-alpn-proxy")
    machine.shell("! pgrep -x acme-alpn-proxy")


@pytest.mark.parametrize("redirect", ["handoff", "steer", "iptables"])
def test_service_that_is_killed_leaves_nothing(machine, redirect):
    machine.shell(NETWORK)
    machine.shell(f"echo OPTIONS=--redirect={redirect} "
                  ">/etc/default/acme-alpn-proxy")
    machine.shell("systemctl start acme-alpn-proxy")
    machine.shell("systemctl kill --signal=KILL --kill-who=main "
                  "acme-alpn-proxy")
    for _ in range(10):
        assert machine.shell(VISIT).strip() in (DIRECTLY, THROUGH_PROXY)
    # Until what ExecStopPost= does is done, it is "deactivating".
    machine.shell("until systemctl is-failed acme-alpn-proxy; do sleep 0.1; "
                  "done; systemctl reset-failed acme-alpn-proxy")
    assert machine.shell(VISIT).strip() == DIRECTLY
    # With its priority, in the journal.
    assert "the supervisor died" in machine.shell(
        "journalctl --no-pager -p warning..warning -u acme-alpn-proxy")
    assert "REDIRECT" not in machine.shell("iptables -t nat -S")
    machine.shell("! ls /run/acme* 2>&1")


UNITS = "\n".join((
    command("dist/README.md", "useradd"),
    command("dist/README.md", "cp /usr/local/share/doc",
            # As the package has it.
            {"/usr/local/": "/usr/"})))
CLIENT = UNITS + """
cat >/usr/bin/lego <<'EOF'
#!/bin/sh
id -un
test -w /var/lib/acme && pgrep -x acme-alpn-proxy >/dev/null
EOF
chmod 0755 /usr/bin/lego
systemctl daemon-reload
systemctl start nginx
echo OPTIONS=--bpf >/etc/default/acme-alpn-proxy
"""
# As root gets the first one: systemd gives it to the client's user.
CERTIFICATE = """
install -d -m 0700 /var/lib/acme/certificates
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -days 90 -subj /CN=www.example.org -keyout /dev/null \
    -out /var/lib/acme/certificates/www.example.org.crt 2>/dev/null
"""
STOPPED = "while [ \"$(systemctl is-active acme-alpn-proxy)\" != inactive ]; " \
          "do sleep 0.1; done"


def test_renewal_runs_unprivileged_behind_the_service(machine):
    machine.shell(CLIENT)
    machine.shell(command("dist/README.md", "systemctl start acme-renew"))
    machine.shell(STOPPED)
    journal = machine.shell(command("dist/README.md", "journalctl"))
    assert re.search(r"lego\[\d+\]: acme$", journal, re.M)
    assert journal.index("ready: handoff") < journal.index("]: acme\n")

    machine.shell("echo 'exit 1' >>/usr/bin/lego; ! systemctl start acme-renew")
    machine.shell(STOPPED)
    machine.shell("echo OPTIONS=--unknown >/etc/default/acme-alpn-proxy; "
                  "rm /usr/bin/lego; ! systemctl start acme-renew")
    # Without a proxy, the CA is not asked at all.
    assert "lego" not in machine.shell(
        "systemctl status acme-renew | grep -F Process: || true")


def test_renewal_starts_nothing_unless_it_is_due(machine):
    """Above, it was: there was no certificate."""
    machine.shell(CLIENT + CERTIFICATE)
    machine.shell("systemctl start acme-renew")
    assert "lego[" not in machine.journal("acme-renew")
    assert "ready: " not in machine.journal("acme-alpn-proxy")
    machine.shell("! systemctl is-failed acme-renew")


def test_renewal_that_is_not_due_leaves_a_proxy_alone(machine):
    """One that it did not start."""
    machine.shell(CLIENT + CERTIFICATE)
    machine.shell("systemctl start acme-alpn-proxy")
    machine.shell("systemctl start acme-renew")
    # Without a job that would stop it soon.
    assert "acme-alpn-proxy" not in machine.shell("systemctl list-jobs")
    machine.shell("systemctl is-active acme-alpn-proxy")


def test_service_leaves_alone_what_was_started_otherwise(machine):
    machine.shell(NETWORK)
    machine.shell("acme-alpn-proxy start --daemon --redirect=steer")
    machine.shell("echo OPTIONS=--redirect=steer >/etc/default/acme-alpn-proxy; "
                  "! systemctl start acme-alpn-proxy")
    assert "already running as" in machine.journal("acme-alpn-proxy")
    assert "Result=protocol" in machine.shell(
        "systemctl show -p Result acme-alpn-proxy")
    machine.shell("acme-alpn-proxy status")
    assert machine.shell(VISIT).strip() == THROUGH_PROXY


def test_timer_is_enabled(machine):
    machine.shell(CLIENT)
    machine.shell(command("dist/README.md", "systemctl enable") +
                  "; systemctl list-timers | grep acme-renew")


def test_removing_the_package_ends_what_was_started_by_hand(machine):
    machine.shell(NETWORK)
    machine.shell("acme-alpn-proxy start --daemon --redirect=steer")
    assert machine.shell(VISIT).strip() == THROUGH_PROXY
    machine.shell("dpkg --remove acme-alpn-proxy")
    assert machine.shell(VISIT).strip() == DIRECTLY
    machine.shell("! ls /run/acme-alpn-proxy* 2>/dev/null")


def test_units_are_well_formed(machine):
    machine.shell("cp /usr/share/doc/acme-alpn-proxy/examples/acme-renew.* "
                  "/run/systemd/system; ln -s /bin/true /usr/bin/lego; "
                  "systemd-analyze verify --man=no acme-alpn-proxy.service "
                  "acme-renew.service acme-renew.timer")


def test_exposure_is_as_documented(machine):
    """The number in dist/README.md."""
    text = machine.shell("systemd-analyze security --no-pager "
                         "acme-alpn-proxy.service", check=False)
    score = re.search(r"Overall exposure level .*: ([\d.]+)", text).group(1)
    words = " ".join((ROOT / "dist/README.md").read_text().split())
    assert f"an exposure of {score} " in words
