# SPDX-License-Identifier: MIT
"""start, stop and status as hooks, people and scripts use them."""

import fcntl
import os
import pty
import random
import re
import select
import signal
import subprocess
import time

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.terminal import on_a_terminal, read_to_the_end, read_until
from harness.visitors import LongVisitor

NOT_RUNNING = 3
SHELLS = 4
# Starts and stops that race in all; RACES=200 in the environment takes longer.
RACES = int(os.environ.get("RACES", "8"))


def assert_nothing_left(product, clean):
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean


def visit_through_proxy(network, web, family=4):
    return LongVisitor.through_the_proxy(network.client,
                                         Network.SERVER[family], web)


def test_start_in_the_background_of_a_hook(redirect, network, product, web,
                                           clean):
    """
    A hook's shell ignores SIGINT for `start &`, and its runner waits until
    every pipe that it gave to the hook is closed.
    """
    pipe_read, pipe_write = os.pipe()
    script = '"$@" & while ! [ -s "$ACME_ALPN_PROXY_PIDFILE" ]; do ' \
             'sleep 0.05; done; echo hook done'
    # Returns when standard output and error have reached their end.
    result = product.namespace.run(
        "sh", "-c", script, "sh", *product.command("start",
                                                   f"--redirect={redirect}"),
        env=product.environment, pass_fds=[pipe_write], timeout=60)
    assert result.stdout.endswith("hook done\n")
    os.close(pipe_write)
    assert select.select([pipe_read], [], [], 5)[0]
    assert os.read(pipe_read, 1) == b""
    os.close(pipe_read)
    # A program that is about to be started for a look at the rules is not ours
    # for long.
    for pid in (product.supervisor(), product.worker()):
        for number in (0, 1, 2):
            assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"
    visit_through_proxy(network, web).close()
    product.stop()
    assert_nothing_left(product, clean)


def test_daemon_releases_its_caller(product, web, clean):
    result = product.succeed("start", "--daemon", timeout=60)
    supervisor = product.supervisor()
    assert product.listening()
    assert os.getsid(supervisor) == supervisor
    assert "ready" in result.stdout
    product.stop()
    assert_nothing_left(product, clean)


def test_default_log_is_under_var_log(network, product, web):
    """On a file system of its own, so that this machine's stays as it is."""
    script = 'mount -t tmpfs none /var/log && exec "$@"'
    process = network.server.popen(
        "sh", "-c", script, "sh", product.program, "start", "--redirect=steer",
        env=product.environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    supervisor = product.wait_running()
    # Its end comes when the program lets go of it.
    process.stdout.read()
    log = f"/proc/{supervisor}/root/var/log/acme-alpn-proxy.log"
    with open(log, encoding="ascii") as file:
        assert "ready" in file.read()
    assert os.stat(log).st_mode & 0o777 == 0o600
    product.stop()
    assert process.wait(60) == 0


def test_terminal_is_logged_to(network, product, web):
    ours, theirs = pty.openpty()
    process = network.server.popen(
        product.program, "start", "--redirect=steer", env=product.environment,
        stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    product.wait_running()
    process.send_signal(signal.SIGINT)
    text = read_to_the_end(ours)
    assert process.wait(60) == 0
    assert "ready" in text and "done" in text


@pytest.mark.parametrize("name, redirect", [
    ("SIGINT", "steer"), ("SIGTERM", "iptables"), ("SIGHUP", "steer")])
def test_signals_stop_it(name, redirect, network, product, web, clean):
    process = product.popen("start", f"--redirect={redirect}")
    product.wait_running()
    visitor = visit_through_proxy(network, web)
    process.send_signal(getattr(signal, name))
    wait_until(lambda: not product.pidfile.exists(), what="end of redirect")
    visitor.visit()
    visitor.close()
    assert process.wait(60) == 0
    assert_nothing_left(product, clean)


def test_pidfile_tells_when_it_serves(redirect, network, product, web):
    """Empty and locked at first; a pid means that visitors are redirected."""
    process = product.popen("start", f"--redirect={redirect}")
    wait_until(product.pidfile.exists, what="the pidfile")
    wait_until(product.pidfile_locked, what="the lock")
    supervisor = product.wait_running()
    assert supervisor == process.pid
    assert product.pidfile_locked()
    visit_through_proxy(network, web).close()
    product.stop()
    assert not product.pidfile.exists()
    process.wait(60)


def test_second_start_says_so(network, product, web, clean):
    product.start("--redirect=steer")
    pids = product.pids()
    during = residue.snapshot(network.server)
    for words in (["start"], ["start", "--daemon"],
                  ["--redirect=steer", "start", "--daemon"]):
        result = product.succeed(*words, timeout=60)
        assert "already running" in result.stdout
        assert str(product.supervisor()) in result.stdout
    assert product.pids() == pids
    assert residue.snapshot(network.server) == during
    product.stop()
    assert_nothing_left(product, clean)


def test_starts_at_the_same_time_make_one_instance(redirect, network, product,
                                                   web, clean):
    starts = [product.popen("start", "--daemon", f"--redirect={redirect}",
                            stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [start.wait(60) for start in starts] == [0] * 5
    assert len(product.pids()) == 2
    visit_through_proxy(network, web).close()
    product.stop()
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("operation", [["start"], ["run", "--", "true"]],
                         ids=["start", "run"])
def test_wait_for_another_instance_is_told_of(operation, product, clean):
    """Once it is worth a word; and the log has it, too."""
    with open(product.pidfile, "wb") as other:
        # As an instance that starts: the first byte is locked.
        fcntl.lockf(other, fcntl.LOCK_EX, 1)
        start = product.popen("--redirect=none", *operation, text=True,
                              stderr=subprocess.PIPE)
        word = (f"process {os.getpid()} is starting: waiting for it, at most "
                "29 s\n")
        assert start.stderr.readline() == word
        assert start.poll() is None
        assert product.run("status").stdout == "starting\n"
    if operation == ["start"]:
        product.wait_running()
        product.stop()
    assert start.wait(60) == 0
    with start.stderr as output:
        assert "waiting for it" not in output.read()
    assert word in product.log_text()
    assert_nothing_left(product, clean)


def test_stop_with_nothing_running(product, clean):
    for _ in range(2):
        product.stop()
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_start_racing_stop(redirect, product, web, send_visitors, clean):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    visitors = send_visitors(rate=100)
    for _ in range(4):
        start = product.popen("start", "--daemon", f"--redirect={redirect}",
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, 0.2))
        product.stop()
        # A start that lost the race may have failed, or begun afterwards.
        start.wait(60)
        visitors.wait_for_more(10)
    product.stop()
    visitors.finish_without_failures()
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_starts_and_stops_of_several_shells(redirect, product, web,
                                            send_visitors, clean, time_limit):
    """Each with a mind of its own; whoever is last decides."""
    signal.alarm(60 + 20 * RACES)
    visitors = send_visitors(rate=50)
    loop = f"""
        for ((i = 0; i < {RACES // SHELLS}; i++)); do
            "$@" start --daemon --redirect={redirect}
            sleep 0.$((RANDOM % 4))
            "$@" stop || exit 3
        done"""
    shells = [product.namespace.popen(
        "bash", "-c", loop, "bash", *product.command(),
        env=product.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL) for _ in range(SHELLS)]
    assert [shell.wait() for shell in shells] == [0] * SHELLS
    product.stop()
    visitors.wait_for_more(10)
    visitors.finish_without_failures()
    assert_nothing_left(product, clean)


def test_stops_at_the_same_time(product, clean):
    product.start("--redirect=steer")
    stops = [product.popen("stop", stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [stop.wait(60) for stop in stops] == [0] * 5
    assert_nothing_left(product, clean)


def test_start_during_a_drain(redirect, network, product, web, clean):
    product.start(f"--redirect={redirect}")
    first = product.supervisor()
    old = visit_through_proxy(network, web)
    product.stop()
    assert first in product.pids()
    product.start(f"--redirect={redirect}")
    assert product.supervisor() != first
    new = visit_through_proxy(network, web)
    for visitor in (old, new):
        visitor.visit()
    old.close()
    wait_until(lambda: first not in product.pids(), what="end of the drain")
    # What the first one took away was its own.
    new.visit()
    visit_through_proxy(network, web, 6).close()
    product.stop()
    new.visit()
    new.close()
    assert_nothing_left(product, clean)


def test_drain_ends_with_its_timeout(network, product, web, clean):
    product.start("--redirect=steer", "--drain-timeout", "2")
    visitor = visit_through_proxy(network, web)
    product.stop()
    visitor.visit()
    product.wait_gone()
    with pytest.raises((OSError, AssertionError)):
        visitor.visit()
    visitor.close()
    assert_nothing_left(product, clean)


def test_stop_waits_no_longer_than_told(network, product, web, clean):
    product.start("--redirect=steer")
    visitor = visit_through_proxy(network, web)
    result = product.run("stop", "--wait=1")
    assert result.returncode == 1
    assert "still open" in result.stdout
    visitor.visit()
    visitor.close()
    product.stop("--wait")
    assert_nothing_left(product, clean)


def test_stop_waits_until_the_last_has_gone(network, product, web, clean):
    product.start("--iptables")
    visitor = visit_through_proxy(network, web)
    stop = product.popen("stop", "--wait", stderr=subprocess.PIPE)
    wait_until(lambda: not product.pidfile.exists(), what="end of redirect")
    time.sleep(0.5)
    assert stop.poll() is None
    visitor.close()
    assert stop.wait(60) == 0
    # Progress is for terminals.
    with stop.stderr as output:
        assert output.read() == b"stopped: the redirect is gone\n"
    assert_nothing_left(product, clean)


def test_stop_shows_its_progress_on_a_terminal(redirect, network, product, web,
                                               clean):
    product.start(f"--redirect={redirect}", "--drain-timeout", "60")
    visitors = [visit_through_proxy(network, web) for _ in range(2)]
    stop, terminal = on_a_terminal(product, "stop", "--wait")
    wait_until(lambda: not product.pidfile.exists(), what="end of redirect")
    # Another may start meanwhile, and has a status of its own.
    product.start(f"--redirect={redirect}")
    visitors.pop().close()
    text = "".join(read_until(terminal, "\rconnections left: 1, ")
                   for _ in range(2))
    assert stop.poll() is None
    visitors.pop().close()
    assert stop.wait(60) == 0
    text += read_to_the_end(terminal)
    grace = re.findall(r"\rwaiting for handshakes that are under way, seconds "
                       r"left: (\d)\x1b\[K", text)
    assert grace[0] == "3" and len(grace) >= 2, text
    shown = [tuple(map(int, pair)) for pair in re.findall(
        r"\rconnections left: (\d+), seconds left: (\d+)\x1b\[K", text)]
    assert len(shown) >= 2, text + product.log_text()
    assert all(open_connections in (1, 2) for open_connections, _ in shown)
    assert shown[-1][0] == 1
    assert 60 >= shown[0][1] > shown[-1][1] > 30
    # Nothing of it stays.
    assert text.endswith("\r\x1b[K")
    product.stop()
    assert_nothing_left(product, clean)


def test_progress_counts_down_to_what_stop_was_told(network, product, web):
    product.start("--redirect=steer")
    visitor = visit_through_proxy(network, web)
    stop, terminal = on_a_terminal(product, "stop", "--wait=2.5")
    assert stop.wait(60) == 1
    text = read_to_the_end(terminal)
    assert re.findall(r"seconds left: (\d+)", text)[0] in "123"
    assert "\r\x1b[Kerror: connections are still open" in text
    visitor.close()
    product.wait_gone()


def test_status(product, web):
    assert product.run("status").returncode == NOT_RUNNING
    product.start("--redirect=steer")
    result = product.succeed("status")
    assert str(product.supervisor()) in result.stdout
    product.stop()
    assert product.run("status").returncode == NOT_RUNNING


def test_options_before_and_after_the_operation(product, web, clean):
    product.succeed("--bpf", "start", "-daemon", "-alpn", "127.0.0.1:4443",
                    "--drain-timeout=5")
    assert "127.0.0.1:4443" in product.log_text()
    product.succeed("stop", "-bpf")
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_other_ports_and_names(redirect, network, product, web, clean):
    """Two ports of one's own, and backends by name and by IPv6 address."""
    backend = network.server.listen("::1", 8443)
    product.start(f"--redirect={redirect}", "--port", "8080", "--listen",
                  "18080",
                  "-fallback", "[::1]:8443", "-alpn", "localhost:31443")
    with network.client.connect(Network.SERVER[4], 8080) as visitor:
        visitor.sendall(b"hello\n")
        # A proof comes without a word.
        said = b""
        while not said:
            connection, _ = backend.accept()
            with connection:
                said = connection.recv(10)
        assert said == b"hello\n"
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    assert not visitor.through_proxy
    visitor.close()
    product.succeed("stop", f"--redirect={redirect}", "--port", "8080",
                    "--listen",
                    "18080")
    backend.close()
    assert_nothing_left(product, clean)


def test_chosen_interface_only(network, product, web, clean):
    product.start("--redirect=steer", "--interface", "auth*")
    visitor = LongVisitor(network.authority, Network.SERVER_FOR_AUTHORITY[4],
                          web)
    visitor.visit()
    assert visitor.through_proxy
    visitor.close()
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    assert not visitor.through_proxy
    visitor.close()
    product.stop()
    assert_nothing_left(product, clean)


def test_proxy_without_redirect(network, product, web, clean):
    product.start("--no-redirect")
    during = residue.snapshot(network.server)
    assert during["rules"] == clean["rules"]
    assert during["filters"] == clean["filters"]
    visitor = LongVisitor(network.server, "127.0.0.1", web, port=21443)
    visitor.visit()
    visitor.close()
    product.succeed("stop", "--no-redirect")
    assert_nothing_left(product, clean)


def test_help_and_version(product):
    for word in ("start", "stop", "status", "-alpn", "-fallback", "--bpf",
                 "--daemon", "ACME_ALPN_PROXY_PIDFILE"):
        assert word in product.succeed("--help").stdout
    assert "0." in product.succeed("--version").stdout
