# SPDX-License-Identifier: MIT
"""
The state file: what a killed instance made is undone by what the file says,
whatever the next command is told.
"""

import contextlib
import os
import random
import re
import signal
import time

import pytest

from harness import residue
from harness.namespace import Namespace, wait_until
from harness.network import Network
from harness.product import WITHOUT_TCX
from harness.visitors import LongVisitor
from harness.webserver import WebServer

# Words and rule of a next command that is about something else.
OTHERS = {
    "listen": (["--iptables", "--listen", "12345"], None),
    "port": (["--iptables", "--port", "8443"], None),
    "rulespec": (["--iptables"], "-p tcp --dport 443 --syn -m comment "
                 "--comment another -j REDIRECT --to-ports 21443"),
    "no-redirect": (["--no-redirect"], None),
    "redirect-none": (["--redirect", "none"], None),
    "bpf": (["--redirect=steer", "--listen", "12345"], None),
}
# Those that leave something behind, or keep workers.
REDIRECTS = pytest.mark.parametrize("redirect", ["steer", "iptables"])
OWN_RULE = ("-p tcp --syn --dport 443 -m comment --comment 'a \"b\" \\ c' "
            "-j REDIRECT --to-port 21443")


@pytest.fixture
def elsewhere():
    made = Namespace("elsewhere")
    yield made
    made.remove()


def state_of(product):
    return product.pidfile.with_suffix(".state")


def aside(product):
    return product.pidfile.with_suffix(".state.old")


def with_rule(product, rule):
    environment = dict(product.environment)
    if rule:
        environment["ACME_ALPN_PROXY_RULESPEC"] = rule
    return environment


def assert_nothing_left(product, clean):
    product.wait_gone()
    assert not product.pidfile.exists()
    assert not state_of(product).exists()
    assert residue.snapshot(product.namespace) == clean
    names = {path.name for path in product.pidfile.parent.iterdir()}
    assert not {name for name in names if name.startswith("proxy.")
                and name != "proxy.log"}


def assert_port_is_served(network, web):
    for address in Network.SERVER.values():
        visitor = LongVisitor(network.client, address, web)
        visitor.visit()
        assert not visitor.through_proxy
        visitor.close()


def our_rules(product):
    rules = residue.snapshot(product.namespace)["rules"]["iptables-nft"]
    return [line for line in rules if "REDIRECT" in line or "hold" in line]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("operation", ["stop", "start"])
def test_next_command_is_about_something_else(operation, other, network,
                                              product, web, clean):
    words, rule = OTHERS[other]
    environment = with_rule(product, rule)
    product.start("--iptables")
    worker = product.workers()[0]
    product.kill(product.supervisor())
    if operation == "start":
        product.succeed("start", "--daemon", *words, env=environment)
        wait_until(lambda: worker not in product.pids(), what="its drain")
        # The hold of the first goes a moment after its connections.
        wait_until(lambda: len(our_rules(product)) == (
            2 if "--iptables" in words else 0), what="the other's rules")
    product.succeed("stop", *words, env=environment)
    assert_port_is_served(network, web)
    assert_nothing_left(product, clean)


def test_rule_of_the_users_own(network, product, web, clean):
    """It is found again without its being said again."""
    product.succeed("start", "--daemon", "--iptables",
                    env=with_rule(product, OWN_RULE))
    product.kill(product.supervisor())
    product.stop()
    assert_port_is_served(network, web)
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("workers", ["alive", "dead"])
@pytest.mark.parametrize("operation", ["stop", "start"])
def test_next_command_is_in_another_network_namespace(
        operation, workers, network, product, web, elsewhere, clean):
    product.start("--iptables")
    if workers == "alive":
        product.kill(product.supervisor())
    else:
        product.kill_all()
    before = residue.snapshot(elsewhere)

    def there(*words):
        result = elsewhere.run(*product.command(*words),
                               env=product.environment, check=False)
        assert result.returncode == 0, result.stdout + product.log_text()
        return result

    if operation == "start":
        there("start", "--daemon", "--no-redirect")
        assert elsewhere.listening(21443)
        # It is back where it was called.
        assert not product.listening()
    there("stop")
    assert residue.snapshot(elsewhere) == before
    assert_port_is_served(network, web)
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("redirect", ["handoff", "steer"])
@pytest.mark.parametrize("operation", ["stop", "start"])
def test_filters_stay_behind(operation, redirect, product, web, clean):
    product.start(f"--redirect={redirect}", by=[WITHOUT_TCX])
    assert "\nfilters 0x0a1c" in state_of(product).read_text()
    product.kill_all()
    assert residue.snapshot(product.namespace) != clean
    others = ["--no-redirect", "--listen", "12345"]
    if operation == "start":
        product.start(*others)
        filters = residue.snapshot(product.namespace)["filters"]
        assert filters == clean["filters"]
    product.stop(*others)
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("operation", ["stop", "start"])
@pytest.mark.parametrize("here", ["host", "container"])
def test_filters_stay_behind_in_a_container(here, operation, network, product,
                                            tmp_path):
    container = network.add_container()
    web = WebServer(container, tmp_path)
    network.publish_port()
    before = [residue.snapshot(namespace)
              for namespace in (network.server, container)]
    product.start("--redirect=handoff", by=[WITHOUT_TCX])
    line = f":{container.inode}\n"
    wait_until(lambda: line in state_of(product).read_text(),
               what="the container's filters")
    made = residue.snapshot(container)
    assert made["filters"] != before[1]["filters"]
    product.kill_all()
    assert residue.snapshot(container)["filters"] == made["filters"]
    product.namespace = container if here == "container" else network.server
    others = ["--no-redirect", "--listen", "12345"]
    if operation == "start":
        product.start(*others)
        assert (residue.snapshot(container)["filters"] ==
                before[1]["filters"])
    product.stop(*others)
    product.wait_gone()
    assert [residue.snapshot(namespace)
            for namespace in (network.server, container)] == before
    assert not state_of(product).exists()
    web.stop()


def test_two_namespaces_do_not_mix(network, product, web, elsewhere, clean):
    """What is alike there is not of the instance that was killed here."""
    rule = ["-p", "tcp", "--dport", "443", "--syn", "-m", "addrtype",
            "--dst-type", "LOCAL", "-m", "comment", "--comment",
            "acme-alpn-proxy", "-j", "REDIRECT", "--to-ports", "21443"]
    elsewhere.run("iptables", "-t", "nat", "-A", "PREROUTING", *rule)
    before = residue.snapshot(elsewhere)
    product.start("--iptables")
    product.kill(product.supervisor())
    assert elsewhere.run(*product.command("stop"), env=product.environment,
                         check=False).returncode == 0
    assert residue.snapshot(elsewhere) == before
    assert_nothing_left(product, clean)


def killed_in_a_namespace_that_is_gone(product, elsewhere):
    for program in (["start", "--daemon", "--iptables"],):
        result = elsewhere.run(*product.command(*program),
                               env=product.environment, check=False)
        assert result.returncode == 0, result.stdout
    for pid in elsewhere.pids():
        # It may have ended with the one before.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not elsewhere.pids(), what="end of all")
    return state_of(product).read_text()


def test_namespace_is_gone(product, web, clean):
    gone = Namespace("gone")
    try:
        text = killed_in_a_namespace_that_is_gone(product, gone)
    finally:
        gone.remove()
    result = product.run("stop")
    assert result.returncode == 1
    assert "network namespace" in result.stdout
    assert str(state_of(product)) in result.stdout
    assert state_of(product).read_text() == text
    # It does not keep the next one from serving.
    result = product.start("--iptables")
    assert str(aside(product)) in result.stdout
    assert aside(product).read_text() == text
    product.stop()
    aside(product).unlink()
    assert_nothing_left(product, clean)


def end_line(text):
    """As the program writes it, so that a change is not found by it."""
    total = 0x811c9dc5
    for byte in text.encode():
        total = (total ^ byte) * 0x01000193 & 0xffffffff
    return f"end {total:08x}\n"


def changed(text, old, new):
    assert re.search(old, text)
    text = re.sub(old, new, text.partition("end ")[0], count=1)
    return text + end_line(text)


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[:len(text) // 2],
    "garbage": lambda text: "\0\1\xff nonsense\n" * 9,
    "one-byte": lambda text: text.replace("listen 21443", "listen 21444"),
    "version": lambda text: changed(text, r"state \d+\n", "state 99\n"),
    "boot": lambda text: changed(
        text, r"boot \S+", "boot 00000000-0000-0000-0000-000000000000"),
    "directory": None,
}


def test_the_control_follows_what_it_wrote_itself(product, web, clean):
    """A test that changes the file would show nothing without this."""
    product.start("--iptables")
    product.kill(product.supervisor())
    text = state_of(product).read_text()
    assert changed(text, "listen 21443", "listen 21443") == text


def damage(product, how):
    state = state_of(product)
    text = state.read_text()
    if how == "directory":
        state.unlink()
        state.mkdir()
    else:
        state.write_bytes(DAMAGES[how](text).encode("latin-1"))


@pytest.mark.parametrize("operation", ["stop", "start"])
@pytest.mark.parametrize("how", DAMAGES)
def test_unusable_file_ends_nobody(how, operation, network, product, web,
                                   clean):
    """
    Whose rule may still lead visitors to the workers is not known, and so
    these go on.
    """
    product.start("--iptables")
    worker = product.workers()[0]
    product.kill(product.supervisor())
    text = state_of(product).read_text()
    damage(product, how)
    made = residue.snapshot(product.namespace)
    words = ["--daemon"] if operation == "start" else []
    result = product.run(operation, *words, "--iptables", "--listen", "12345")
    assert result.returncode == 1
    assert str(state_of(product)) in result.stdout
    assert worker in product.pids()
    assert residue.snapshot(product.namespace) == made
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    # With the file as it was, all is well again.
    if how == "directory":
        state_of(product).rmdir()
    state_of(product).write_text(text)
    product.stop()
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("how", DAMAGES)
def test_unusable_file_without_workers(how, product, web, clean):
    product.start("--redirect=steer")
    product.kill_all()
    damage(product, how)
    made = residue.snapshot(product.namespace)
    result = product.run("stop", "--redirect=steer")
    assert result.returncode == (0 if how == "boot" else 1)
    assert str(state_of(product)) in result.stdout
    assert state_of(product).exists()
    assert residue.snapshot(product.namespace) == made
    result = product.start("--redirect=steer")
    assert aside(product).exists()
    assert str(aside(product)) in result.stdout
    product.stop()
    (aside(product).rmdir if how == "directory"
     else aside(product).unlink)()
    assert_nothing_left(product, clean)


@REDIRECTS
def test_what_the_file_says(redirect, network, product, web):
    product.start(f"--redirect={redirect}", "--port", "443", "--listen", "12345")
    state = state_of(product)
    assert state.stat().st_mode & 0o777 == 0o600
    lines = state.read_text().splitlines()
    assert lines[0] == "acme-alpn-proxy state 1"
    said = [line.partition(" ")[::2] for line in lines]
    assert dict(said) | {"rule": "", "hold": ""} == dict(said) | {
        "boot": open("/proc/sys/kernel/random/boot_id",
                     encoding="ascii").read().strip(),
        "redirect": redirect, "port": "443", "listen": "12345",
        "rule": "", "hold": ""}
    assert dict(said)["network"].endswith(f":{network.server.inode}")
    rules = [text for key, text in said if key == "rule"]
    if redirect == "iptables":
        assert [text.split()[0] for text in rules] == ["iptables", "ip6tables"]
        for text in rules:
            command, _, rule = text.partition(" ")
            network.server.run("sh", "-c", f"{command} -t nat -C PREROUTING "
                               f"{rule}")
        assert dict(said)["hold"] in network.server.run(
            "iptables", "-t", "nat", "-S", "PREROUTING").stdout
    else:
        assert not rules
    product.stop()
    assert not state.exists()


def test_rule_with_odd_bytes_stays_one_line(network, product, web, clean):
    rule = ("-p tcp --syn --dport 443\n\t-m comment --comment 'a\\b \xe4'\n"
            "-j REDIRECT --to-port 21443")
    product.succeed("start", "--daemon", "--iptables",
                    env=with_rule(product, rule))
    for line in state_of(product).read_text().splitlines():
        assert line.split(" ")[0] in ("acme-alpn-proxy", "boot", "network",
                                      "redirect", "port", "listen", "rule",
                                      "hold", "filters", "end")
    product.kill_all()
    product.stop()
    assert_nothing_left(product, clean)


@REDIRECTS
def test_file_is_gone_while_it_drains(redirect, network, product, web, clean):
    """The next instance's file is its own, and stays its own."""
    product.start(f"--redirect={redirect}")
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    product.stop()
    assert not state_of(product).exists()
    product.start(f"--redirect={redirect}")
    text = state_of(product).read_text()
    first = product.pids()
    visitor.visit()
    visitor.close()
    wait_until(lambda: len(product.pids()) < len(first), what="the drain")
    time.sleep(0.5)
    assert state_of(product).read_text() == text
    product.stop()
    assert_nothing_left(product, clean)


@REDIRECTS
def test_all_killed_while_they_start(redirect, product, web, clean):
    """Whenever it is, what was made is known: it was written down before."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    began = time.monotonic()
    product.start(f"--redirect={redirect}")
    duration = time.monotonic() - began
    product.stop()
    product.wait_gone()
    for _ in range(6):
        process = product.popen("start", f"--redirect={redirect}")
        time.sleep(moments.uniform(0, duration * 1.2))
        process.kill()
        product.kill_all()
        process.wait(60)
        product.succeed("stop", "--iptables", "--listen", "12345")
        assert_nothing_left(product, clean)


@pytest.mark.parametrize("operation", ["stop", "start"])
def test_killed_while_it_writes(operation, product, web, clean):
    """What was written of the file so far is not left behind."""
    start = product.namespace.popen(
        "strace", "-qq", "-o", os.devnull, "-e",
        "inject=/^rename:error=EINTR:signal=SIGKILL",
        *product.command("start", "--redirect=steer"), env=product.environment)
    start.wait(60)
    product.kill_all()
    unfinished = product.pidfile.with_suffix(".state.new")
    assert unfinished.exists()
    assert not state_of(product).exists()
    if operation == "start":
        product.start("--redirect=steer")
        assert not unfinished.exists()
    product.stop()
    assert_nothing_left(product, clean)


FULL = {
    # Room for the pidfile, and for nothing beside it.
    "full": 'mount -t tmpfs -o nr_inodes=2 none "$0"',
    "read-only": 'mount -t tmpfs none "$0"; mount -o remount,ro "$0"',
}


@REDIRECTS
@pytest.mark.parametrize("how", FULL)
def test_directory_that_takes_no_file(how, redirect, product, tmp_path, web,
                                      clean):
    folder = tmp_path / "small"
    folder.mkdir()
    environment = dict(product.environment,
                       ACME_ALPN_PROXY_PIDFILE=str(folder / "proxy.pid"))
    result = product.namespace.run(
        "unshare", "-m", "sh", "-ec", FULL[how] + '; "$@" || code=$?; '
        'ls -A "$0"; exit ${code-0}', folder,
        *product.command("start", "--daemon", f"--redirect={redirect}"),
        env=environment, check=False)
    assert result.returncode == 1
    (message,) = result.stdout.splitlines()
    assert message.startswith("error: ")
    assert str(folder) in message
    assert ("No space left on device" if how == "full"
            else "Read-only file system") in message
    product.wait_gone()
    assert residue.snapshot(product.namespace) == clean


@REDIRECTS
def test_stop_waits_for_the_workers_of_a_killed_supervisor(
        redirect, network, product, web, clean):
    product.start(f"--redirect={redirect}", "--workers", "2")
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    product.kill(product.supervisor())
    result = product.run("stop", "--wait=1")
    assert result.returncode == 1
    assert "still open after 1 s" in result.stdout
    visitor.visit()
    visitor.close()
    product.wait_gone()
    assert_nothing_left(product, clean)


@REDIRECTS
def test_stop_that_waits_ends_with_the_last_worker(redirect, network, product,
                                                   web, clean):
    product.start(f"--redirect={redirect}", "--workers", "2")
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    product.kill(product.supervisor())
    stop = product.popen("stop", "--wait")
    wait_until(lambda: not product.pidfile.exists(), what="end of redirect")
    # The next one need not wait.
    product.start("--redirect=steer", "--listen", "12345")
    assert stop.poll() is None
    visitor.visit()
    visitor.close()
    assert stop.wait(60) == 0
    product.succeed("stop", "--listen", "12345")
    assert_nothing_left(product, clean)
