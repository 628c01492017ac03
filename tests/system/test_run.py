# SPDX-License-Identifier: MIT
"""run: start, the command, stop, in one line."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.terminal import on_a_terminal, read_to_the_end, read_until
from harness.visitors import LongVisitor

FAILED = 1


def assert_nothing_left(product, clean):
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_command_runs_while_the_redirect_is_in_place(redirect, product, clean):
    """Its words and its output are its own, and so is its exit code."""
    result = product.run(f"--redirect={redirect}", "run", "--", "sh", "-c",
                         'test -s "$ACME_ALPN_PROXY_PIDFILE" && echo "$1"; '
                         "exit 7", "sh", "--bpf two  words", timeout=60)
    assert result.returncode == 7
    assert "--bpf two  words\n" in result.stdout
    assert_nothing_left(product, clean)


def test_command_is_not_run_without_the_redirect(product, clean, tmp_path):
    witness = tmp_path / "witness"
    taken = product.namespace.listen("127.0.0.1", 21443)
    result = product.run("--redirect=steer", "run", "--", "touch",
                         str(witness))
    taken.close()
    assert result.returncode == FAILED
    assert "port 21443" in result.stdout
    assert not witness.exists()
    assert_nothing_left(product, clean)


def test_command_that_does_not_exist(product, clean):
    result = product.run("--redirect=steer", "run", "--", "no-such-program",
                         timeout=60)
    assert result.returncode == FAILED
    assert "cannot run no-such-program" in result.stdout
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT],
                         ids=["term", "int"])
def test_signal_goes_to_the_command_and_all_is_undone(number, product, clean):
    process = product.popen("--redirect=steer", "run", "--", "sleep", "60")
    product.wait_running()
    wait_until(lambda: product.namespace.run(
        "pgrep", "-P", str(process.pid), "sleep", check=False).stdout,
               what="the command")
    time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert_nothing_left(product, clean)


COUNT_KEYS = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print("waits", flush=True)
while signal.sigtimedwait({signal.SIGINT}, 5):
    print("caught", flush=True)
raise SystemExit(7)
"""


def test_keys_at_the_terminal_reach_the_command_once(product, clean):
    """The terminal sends them to both, and so they are not passed on."""
    pid, terminal = pty.fork()
    if pid == 0:
        words = product.namespace.command(*product.command(
            "--redirect=steer", "run", "--", sys.executable, "-c", COUNT_KEYS))
        os.execvpe(words[0], words, product.environment)
    text = read_until(terminal, "waits")
    # Two at almost the same time may be seen as one.
    for _ in range(10):
        os.write(terminal, b"\x03")
        text += read_until(terminal, "caught")
    text += read_to_the_end(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, text
    assert text.count("caught") == 10, text
    assert_nothing_left(product, clean)


def test_what_is_waited_for_is_shown_on_a_terminal(network, web, product,
                                                   clean, tmp_path):
    """Handshakes under way at the end, and with --wait visitors."""
    end = tmp_path / "end"
    process, terminal = on_a_terminal(
        product, "--redirect", "steer", "run", "--wait", "--", "sh", "-c",
        'while ! [ -e "$0" ]; do sleep 0.05; done', end)
    product.wait_running()
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    end.touch()
    text = read_until(terminal, "\rconnections left: 1, seconds left: ")
    visitor.close()
    assert process.wait(60) == 0
    text += read_to_the_end(terminal)
    assert "waiting for handshakes that are under way, seconds left: 3" in text
    assert text.endswith("\r\x1b[K")
    assert_nothing_left(product, clean)


def test_killed_runner_leaves_what_the_next_one_ends(redirect, network, product,
                                                     web, clean):
    """The command goes on, and so do visitors; as the hooks' README says."""
    process = product.popen(f"--redirect={redirect}", "run", "--", "sleep",
                            "60")
    supervisor = product.wait_running()
    command = wait_until(lambda: product.namespace.run(
        "pgrep", "-P", str(process.pid), "sleep", check=False).stdout,
                         what="the command")
    process.kill()
    process.wait()
    os.kill(int(command), 0)
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    # One that finds it running leaves it running.
    assert product.run(f"--redirect={redirect}", "run", "--",
                       "true").returncode == 0
    assert product.supervisor() == supervisor
    product.stop()
    visitor.visit()
    visitor.close()
    os.kill(int(command), signal.SIGKILL)
    assert_nothing_left(product, clean)


def run_with_a_visitor(redirect, network, product, web, tmp_path):
    """run whose command has ended, a connection that has not, and for how many
    seconds that is waited for, as is told."""
    end = tmp_path / "end"
    process = product.popen(
        f"--redirect={redirect}", "run", "--", "sh", "-c",
        'while ! [ -e "$0" ]; do sleep 0.05; done; exit 7', end,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    product.wait_running()
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    end.touch()
    line = ""
    while not (told := re.fullmatch(r"waiting for 1 connections to end, at most "
                                    r"(\d+) s\n", line)):
        line = process.stdout.readline()
        assert line, product.log_text()
    assert not product.pidfile.exists()
    assert process.poll() is None
    visitor.visit()
    return process, visitor, int(told[1])


@pytest.mark.parametrize("redirect", ["steer", "iptables"])
def test_it_ends_when_all_has_ended(redirect, network, product, web, clean,
                                    tmp_path):
    """What ends with it, as a unit of systemd does, would end what drains."""
    process, visitor, seconds = run_with_a_visitor(redirect, network, product,
                                                   web, tmp_path)
    assert 60 < seconds <= 180
    visitor.close()
    assert process.wait(60) == 7
    assert not product.pids()
    process.stdout.close()
    assert_nothing_left(product, clean)


def test_waiting_is_given_up_by_a_signal(network, product, web, clean,
                                         tmp_path):
    process, visitor, _ = run_with_a_visitor("steer", network, product, web,
                                             tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    process.stdout.close()
    visitor.visit()
    visitor.close()
    assert_nothing_left(product, clean)


def test_waiting_ends_with_the_drain_timeout(network, product, web, clean,
                                             tmp_path):
    def limited(*words, **options):
        return popen("--drain-timeout", "6", *words, **options)

    popen, product.popen = product.popen, limited
    process, visitor, seconds = run_with_a_visitor("steer", network, product,
                                                   web, tmp_path)
    assert seconds <= 6
    assert process.wait(60) == 7
    process.stdout.close()
    visitor.close()
    assert not product.pids()
    assert_nothing_left(product, clean)


def test_instance_that_ran_before_goes_on(product, clean):
    product.start("--redirect=steer")
    supervisor = product.supervisor()
    result = product.run("--redirect=steer", "run", "--", "true", timeout=60)
    assert result.returncode == 0
    assert product.supervisor() == supervisor
    product.stop()
    assert_nothing_left(product, clean)


@pytest.mark.parametrize("delay", [0, 0.005, 0.02, 0.05])
def test_two_at_once(redirect, delay, product, clean, tmp_path):
    """Only the one that started the proxy stops it, whoever ends first."""
    processes = []
    for number in range(2):
        processes.append(product.popen(
            "--log-file", tmp_path / f"{number}.log",
            f"--redirect={redirect}", "run",
            "--", "sh", "-c",
            'touch "$0.runs"; while ! [ -e "$0.end" ]; do sleep 0.05; done',
            tmp_path / str(number)))
        time.sleep(delay)
    wait_until(lambda: all((tmp_path / f"{number}.runs").exists()
                           for number in range(2)), what="both commands")
    (guest,) = [number for number in range(2) if "already running"
                in (tmp_path / f"{number}.log").read_text()]
    supervisor = product.supervisor()
    for number in (guest, 1 - guest):
        assert product.supervisor() == supervisor
        (tmp_path / f"{number}.end").touch()
        assert processes[number].wait(60) == 0
    assert_nothing_left(product, clean)
