# SPDX-License-Identifier: MIT
"""What cannot work is refused: one clear message, and nothing was changed."""

import contextlib
import json
import os
import re
import shlex
import shutil

import pytest

from harness import hello, residue
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.visitors import LongVisitor
from harness.webserver import WebServer

DONE, FAILED, USAGE = 0, 1, 2
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.fixture
def before(network):
    return residue.snapshot(network.server)


@pytest.fixture
def refuse(product, before):
    """Call it to run a command that must be refused; returns its output."""
    def run(*words, prefix=(), code=FAILED, log="-", **options):
        options.setdefault("env", product.environment)
        result = product.namespace.run(*prefix, product.program, "--log-file",
                                       log, *words, check=False, timeout=60,
                                       **options)
        assert result.returncode == code, result.stdout
        lines = result.stdout.splitlines()
        assert 1 <= len(lines) <= 2, result.stdout
        assert not product.pids()
        assert residue.snapshot(product.namespace) == before
        return result.stdout
    return run


def without_files(*patterns):
    """
    A command prefix that hides programs of /usr/sbin; it lasts as long as
    the mount namespace that `ip netns exec` makes.
    """
    hide = " ".join(f"-e {shlex.quote(pattern)}" for pattern in patterns)
    return ["sh", "-euc", f"""
        kept=$(mktemp -d)
        mount --bind /usr/sbin $kept
        PATH=$kept:/usr/bin:/bin
        mount -t tmpfs none /usr/sbin
        for name in $(ls $kept | grep -vx {hide}); do
            ln -s $kept/$name /usr/sbin/$name
        done
        trap 'umount -l /usr/sbin $kept; rmdir $kept' EXIT
        PATH=/usr/sbin:/usr/bin:/sbin:/bin
        "$@"
        """, "sh"]


NO_IPTABLES = without_files("ip6*tables.*", "xtables.*")
NO_IP6TABLES = without_files("ip6tables.*")


@pytest.mark.parametrize("redirect", REDIRECTS)
@pytest.mark.parametrize("rights", [NOBODY, WITHOUT_RIGHTS],
                         ids=["nobody", "no-capabilities"])
@pytest.mark.parametrize("operation", ["start", "stop"])
def test_without_rights(redirect, operation, rights, refuse, product):
    output = refuse(operation, f"--redirect={redirect}", prefix=rights)
    assert "root" in output and "CAP_NET_ADMIN" in output
    assert not product.pidfile.exists()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1", "::"])
def test_taken_port(redirect, address, network, before, product):
    with network.server.listen(address, 21443):
        taken = residue.snapshot(network.server)
        result = product.run("start", "--daemon", f"--redirect={redirect}")
        assert result.returncode == FAILED
        assert "21443" in result.stdout and "in use" in result.stdout
        assert not product.pids()
        assert not product.pidfile.exists()
        assert residue.snapshot(network.server) == taken
    assert residue.snapshot(network.server) == before


@pytest.mark.parametrize("words", [
    [], ["launch"], ["start", "stop"], ["start", "start"],
    ["start", "--no-such-option"], ["start", "-alpn"],
    ["start", "-alpn", "127.0.0.1"], ["start", "-alpn", "127.0.0.1:0"],
    ["start", "-alpn", "127.0.0.1:65536"], ["start", "-fallback", "::1:443"],
    ["start", "-fallback", "[::1:443"], ["start", "-fallback", ":443"],
    ["start", "-fallback", "127.0.0.1:https"],
    ["start", "--listen", "0"], ["start", "--listen", "65536"],
    ["start", "--domain", "*"], ["start", "--domain", "192.0.2"],
    ["start", "--port", "4a"], ["start", "--drain-timeout", "-1"],
    ["start", "--hello-timeout", "soon"], ["start", "--bpf=yes"],
    ["start", "--max-connections", "0"], ["start", "extra", "words"],
], ids=lambda words: " ".join(words) or "nothing")
def test_malformed_command_line(words, refuse, product):
    refuse(*words, code=USAGE)
    assert not product.pidfile.exists()


def test_unknown_host(refuse, product):
    output = refuse("start", "--bpf", "-alpn", "no-such-host.invalid:31443")
    assert "no-such-host.invalid" in output
    assert not product.pidfile.exists()


def test_unknown_user(redirect, refuse):
    output = refuse("start", f"--redirect={redirect}", "--user",
                    "no-such-user")
    assert "no-such-user" in output


def test_no_web_server_behind_the_fallback(redirect, network, product):
    """A visitor is turned away at once, and the log says why."""
    product.run("start", "--daemon", f"--redirect={redirect}")
    for address in Network.SERVER.values():
        with network.client.connect(address, 443) as visitor:
            visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert visitor.recv(1) == b""
    assert "127.0.0.1:443" in product.log_text()


@pytest.fixture
def outer_web(network, tmp_path):
    """One that does not listen where the fallback leads by default."""
    made = WebServer(network.server, tmp_path,
                     listen=(f"{Network.SERVER[4]}:443",
                             f"[{Network.SERVER[6]}]:443"))
    yield made
    made.stop()


@pytest.mark.parametrize("fallback", [
    None, "localhost:443", "unix:/nonexistent/socket"])
def test_fallback_that_is_not_where_the_web_server_is(
        redirect, fallback, network, product, outer_web):
    """Else every visitor would be turned away from now on."""
    before = residue.snapshot(network.server)
    visitor = LongVisitor(network.client, Network.SERVER[4], outer_web)
    result = product.run("start", "--daemon", f"--redirect={redirect}",
                         *(["-fallback", fallback] if fallback else []))
    assert result.returncode == FAILED
    (line,) = result.stdout.splitlines()
    assert (fallback or "127.0.0.1:443") in line and "-fallback" in line
    assert not product.pids() and not product.pidfile.exists()
    visitor.visit()
    visitor.close()
    assert residue.snapshot(network.server) == before


def test_web_server_at_its_outer_address(redirect, network, product,
                                         outer_web):
    address = Network.SERVER[4]
    product.start(f"--redirect={redirect}", "-fallback", f"{address}:443")
    supervisor = product.supervisor()
    for visited in Network.SERVER.values():
        with contextlib.closing(LongVisitor(network.client, visited,
                                            outer_web)) as visitor:
            visitor.visit()
            assert visitor.peer == address
    # One more is not asked where it would lead.
    assert "already running" in product.start(f"--redirect={redirect}").stdout
    assert product.supervisor() == supervisor


def test_web_server_without_the_right_to_low_ports(redirect, product,
                                                   outer_web):
    """As the service has it."""
    result = product.namespace.run(
        "setpriv", "--bounding-set=-net_bind_service",
        "--inh-caps=-net_bind_service",
        *product.command("start", "--daemon", f"--redirect={redirect}"),
        env=product.environment, check=False)
    assert result.returncode == FAILED
    assert "-fallback" in result.stdout


def test_proxy_alone_does_not_ask_for_the_web_server(product, outer_web):
    product.start("--no-redirect")


def test_no_responder_yet(redirect, network, product, web):
    """It is started later by the ACME client; the log tells who was early."""

    product.start(f"--redirect={redirect}")
    for address in Network.SERVER.values():
        with network.client.connect(address, 443) as challenge:
            challenge.sendall(hello.hello(hello.alpn(hello.ACME)))
            with contextlib.suppress(ConnectionResetError):
                assert challenge.recv(1) == b""
        LongVisitor.through_the_proxy(network.client, address, web).close()
    assert "127.0.0.1:31443" in product.log_text().splitlines()[-1]


def test_iptables_is_missing(refuse):
    output = refuse("start", "--iptables", prefix=NO_IPTABLES)
    assert "iptables" in output


def test_ip6tables_is_missing(refuse):
    output = refuse("start", "--iptables", prefix=NO_IP6TABLES)
    assert "ip6tables" in output


@pytest.fixture
def broken_tool(product, tmp_path):
    """Call it to put a program into $PATH that fails on some changes."""
    def make(name, table):
        folder = tmp_path / "broken"
        folder.mkdir()
        tool = folder / name
        tool.write_text(f"""#!/bin/sh
            case " $* " in
            *" -t "{table}*" -A "*|*" -t "{table}*" -I "*)
                echo "{name}: broken" >&2; exit 4 ;;
            esac
            exec {shutil.which(name)} "$@"
            """)
        tool.chmod(0o755)
        path = product.environment["PATH"]
        product.environment["PATH"] = f"{folder}:{path}"
    return make


@pytest.mark.parametrize("table", ["*", "nat"])
@pytest.mark.parametrize("name", ["iptables", "ip6tables"])
def test_one_family_fails(name, table, broken_tool, product, web):
    """All or nothing: what the other family has already goes again."""
    before = residue.snapshot(product.namespace)
    broken_tool(name, table)
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode == FAILED
    assert f"{name}: " in result.stdout and "broken" in result.stdout
    assert not product.pids()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == before


def assert_in_place(product, redirect):
    report = json.loads(product.succeed("status", "--json").stdout)
    assert (report["redirect"], report["mode"]) == (redirect, redirect)


def start_behind(prefix, product, *words):
    return product.namespace.run(
        *prefix, *product.command("start", "--daemon", *words),
        env=product.environment, timeout=60)


FORBID_BPF = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=bpf", "-e",
              "inject=bpf:error=EPERM"]
HIDE_BTF = ["sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"',
            "sh"]


def test_the_best_is_the_default(network, product, web):
    product.start()
    assert_in_place(product, "handoff")
    assert "visitors are left alone" in product.log_text()
    assert "does not work here" not in product.log_text()
    product.stop()


def test_bpf_where_iptables_is_missing(product, send_visitors):
    """Without a choice on the command line, and it says so."""
    start_behind(NO_IPTABLES, product)
    assert_in_place(product, "handoff")
    visitors = send_visitors(4)
    visitors.wait_for_more(50, "own_address")
    product.stop()
    visitors.finish_without_failures()


@pytest.mark.parametrize("words", [[], ["--bpf"]], ids=["default", "bpf"])
def test_steering_where_type_information_is_missing(words, network, product,
                                                    web):
    start_behind(HIDE_BTF, product, *words)
    assert_in_place(product, "steer")
    (line,) = re.findall("handoff does not work here: (.*)",
                         product.log_text())
    assert "BTF" in line
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    product.stop()


def test_iptables_where_steering_would_be_led_away(network, product, tmp_path):
    """A published port on a kernel without type information."""
    container = network.add_container()
    network.publish_port()
    web = WebServer(container, tmp_path, "www.example.test")
    fallback = f"{Network.CONTAINER[4]}:443"
    start_behind(HIDE_BTF, product, "--fallback", fallback)
    assert_in_place(product, "iptables")
    (line,) = re.findall("steer does not work here: (.*)", product.log_text())
    assert "published by a NAT rule" in line
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    # The proxy's.
    assert visitor.peer == Network.BRIDGE[4]
    visitor.close()
    product.stop()
    web.stop()


def test_iptables_where_bpf_is_forbidden(network, product, web):
    # strace stays as long as what it looks at.
    process = product.namespace.popen(*FORBID_BPF, *product.command("start"),
                                      env=product.environment)
    wait_until(lambda: product.run("status").returncode == 0, what="a start")
    assert_in_place(product, "iptables")
    told = re.findall("(.*) does not work here: ", product.log_text())
    assert [line.split()[-1] for line in told] == ["handoff", "steer"]
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    product.stop()
    process.wait(60)


def test_a_rule_of_the_users_own_means_iptables(product, web):
    product.environment["ACME_ALPN_PROXY_RULESPEC"] = (
        "-p tcp --dport 443 --syn -j REDIRECT --to-port 21443")
    product.start()
    assert not product.bpf_objects()
    assert_in_place(product, "iptables")
    product.stop()


@pytest.mark.parametrize("redirect", ["handoff", "steer"])
def test_bpf_is_forbidden(redirect, refuse, product):
    """As in a container whose seccomp filter knows no bpf()."""
    output = refuse("start", f"--redirect={redirect}", prefix=FORBID_BPF)
    assert "bpf" in output.lower()
    assert not product.pidfile.exists()


def test_kernel_type_information_is_missing(network, product, web):
    """No BTF: it works all the same, or is refused with the reason."""
    before = residue.snapshot(network.server)
    result = network.server.run(*HIDE_BTF, *product.command(
        "start", "--redirect=steer", "--daemon"), env=product.environment,
        check=False)
    if result.returncode == DONE:
        visitor = LongVisitor(network.client, Network.SERVER[4], web)
        visitor.visit()
        assert visitor.through_proxy
        visitor.close()
        product.stop()
        product.wait_gone()
    else:
        assert "BTF" in result.stdout
        assert not product.pids()
    assert residue.snapshot(network.server) == before


# The log and the pidfile.

@pytest.fixture
def read_only(tmp_path):
    """A folder in which nothing can be made, not even by root."""
    return ["sh", "-euc", f"""
        mount -t tmpfs none {tmp_path}/folder
        mount -o remount,ro {tmp_path}/folder
        exec "$@"
        """, "sh"]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir()
    return made


def test_log_on_a_read_only_disk(redirect, folder, read_only, refuse):
    output = refuse("start", f"--redirect={redirect}", prefix=read_only,
                    log=folder / "log")
    assert str(folder / "log") in output and "--log-file" in output


@pytest.mark.parametrize("kind", ["directory", "link", "no-folder"])
def test_log_that_is_no_file(kind, redirect, folder, refuse, tmp_path):
    log = folder / "log"
    target = tmp_path / "target"
    if kind == "directory":
        log.mkdir()
    elif kind == "link":
        target.write_text("precious\n")
        log.symlink_to(target)
    else:
        log = log / "log"
    assert str(log) in refuse("start", f"--redirect={redirect}", log=log)
    if kind == "link":
        assert target.read_text() == "precious\n"


def test_full_disk_for_the_log(redirect, network, product, web):
    """No reason to turn anybody away."""
    product.log = "/dev/full"
    result = product.namespace.run(*product.command(
        "start", "--daemon", f"--redirect={redirect}"),
        env=product.environment)
    assert result.returncode == DONE
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    assert product.run("stop").returncode == DONE


@pytest.mark.parametrize("kind", ["read-only", "full", "directory", "link",
                                  "other-text"])
def test_unusable_pidfile(kind, redirect, folder, read_only, refuse, product,
                          tmp_path):
    product.environment["ACME_ALPN_PROXY_PIDFILE"] = str(folder / "pid")
    target = tmp_path / "target"
    target.write_text("precious\n")
    prefix = []
    if kind == "read-only":
        prefix = read_only
    elif kind == "full":
        prefix = ["sh", "-euc", f"""
            mount -t tmpfs -o size=4k none {folder}
            head -c 4096 /dev/zero >{folder}/ballast
            exec "$@"
            """, "sh"]
    elif kind == "directory":
        (folder / "pid").mkdir()
    elif kind == "link":
        (folder / "pid").symlink_to(target)
    else:
        (folder / "pid").write_text("precious\n")
    output = refuse("start", f"--redirect={redirect}", prefix=prefix)
    assert str(folder / "pid") in output
    assert target.read_text() == "precious\n"
    if kind == "other-text":
        assert (folder / "pid").read_text() == "precious\n"
