# SPDX-License-Identifier: MIT
"""Odd parents, odd hosts, odd moments: no worse than without the program."""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import time
from pathlib import Path

import pytest

from harness import hello, residue
from harness.faults import Tracer
from harness.namespace import run, wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.visitors import LongVisitor
from harness.worker_load import processor_seconds

DONE, FAILED = 0, 1
# Visitors: more than fit into the memory that a worker holds when it starts.
MANY = 800
CLOSED = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
# Of workers that die one after the other, the last one is not replaced.
GIVEN_UP_AT = 6


@pytest.fixture
def prefixed(product):
    """Call it to run the program behind other words, like env or sh -c."""
    def run(prefix, *words, **options):
        options.setdefault("env", product.environment)
        options.setdefault("check", False)
        return product.namespace.run(*prefix, *product.command(*words),
                                     **options)
    return run


@pytest.fixture
def wrap_iptables(product, tmp_path):
    """Call it with shell code that runs before iptables itself."""
    def wrap(code):
        folder = tmp_path / "wrapped"
        folder.mkdir(exist_ok=True)
        tool = folder / "iptables"
        tool.write_text(f'#!/bin/sh\n{code}\n'
                        f'exec {shutil.which("iptables")} "$@"\n')
        tool.chmod(0o755)
        path = product.environment["PATH"]
        product.environment["PATH"] = f"{folder}:{path}"
        return tool
    return wrap


def visit(network, web, through_proxy=None, family=4):
    address = Network.SERVER[family]
    if through_proxy:
        return LongVisitor.through_the_proxy(network.client, address, web)
    visitor = LongVisitor(network.client, address, web)
    visitor.visit()
    assert through_proxy is None or not visitor.through_proxy
    return visitor


def wait_for_the_proxy(network, web):
    """A worker that was replaced is steered to a moment later."""
    def came_through():
        visitor = visit(network, web)
        visitor.close()
        return visitor.through_proxy
    wait_until(came_through, what="a visitor through the proxy")


def only_worker(product):
    """Its pid; programs that the supervisor runs come and go beside it."""
    def find():
        found = set(product.workers()) & set(product.pids())
        return found.pop() if len(found) == 1 else None
    return wait_until(find, what="a worker")


def status_of(product):
    return json.loads(product.succeed("status", "--json").stdout)


# Parents.

def test_closed_standard_descriptors(redirect, network, product, web, prefixed,
                                     clean):
    """Numbers 0 to 2 must not go to the log, the pidfile or a pipe."""
    assert prefixed(CLOSED, "start", "--daemon",
                    f"--redirect={redirect}").returncode == DONE
    assert product.pidfile_locked()
    visit(network, web, through_proxy=True).close()
    assert prefixed(CLOSED, "status").returncode == DONE
    assert prefixed(CLOSED, "stop").returncode == DONE
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_closed_standard_descriptors_hide_no_failure(network, prefixed):
    with network.server.listen("127.0.0.1", 21443):
        assert prefixed(CLOSED, "start", "--daemon",
                        "--redirect=steer").returncode == FAILED


def test_ignored_child_signal(network, product, web, prefixed):
    """Then the kernel forgets children's exit codes, and iptables' matters."""
    assert prefixed(["env", "--ignore-signal=CHLD"], "start", "--daemon",
                    "--iptables").returncode == DONE
    visit(network, web, through_proxy=True).close()
    product.stop()


def test_limited_file_size(product, web, prefixed):
    """`ulimit -f` of a hook: a line of log too many is no reason to die."""
    product.log.write_bytes(b"x" * 4096)
    result = prefixed(["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"], "start",
                      "--daemon", "--redirect=steer", "-v")
    assert result.returncode == DONE, result.stdout
    product.stop()


def test_caller_that_stops_reading(product, web, prefixed):
    """`stop 2>&1 | true`: it must not die of its own message."""
    product.start("--redirect=steer")
    product.kill_all()
    assert product.pidfile.exists()
    reader, writer = os.pipe()
    os.close(reader)
    stop = product.popen("stop", stdout=writer, stderr=writer)
    os.close(writer)
    assert stop.wait(60) == DONE
    assert not product.pidfile.exists()


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_caller_killed_while_it_waits(redirect, product, web, wrap_iptables,
                                      clean):
    """Who would take the redirect away again?"""
    if redirect == "iptables":
        wrap_iptables("sleep 0.3")
    parent = product.popen("start", "--daemon", f"--redirect={redirect}")
    wait_until(product.pidfile_locked, what="a starting instance")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean


def test_stop_of_a_hook_that_still_starts(product, web, wrap_iptables, clean):
    """`start &` of a script ignores SIGINT, which must not be lost."""
    wrap_iptables("sleep 0.3")
    start = product.namespace.popen(
        "env", "--ignore-signal=INT", *product.command("start", "--iptables"),
        env=product.environment)
    wait_until(product.pidfile_locked, what="a starting instance")
    product.stop()
    assert start.wait(60) == FAILED
    assert "not started" in product.log_text()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean


def test_stops_do_not_stop_each_other(product, web, wrap_iptables, clean):
    """Each holds the pidfile while it cleans, as an instance would."""
    product.start("--iptables")
    product.kill_all()
    wrap_iptables("sleep 0.1")
    stops = [product.popen("stop") for _ in range(4)]
    assert [stop.wait(60) for stop in stops] == [DONE] * 4
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean


def test_run_is_stopped_while_it_starts(product, web, wrap_iptables, clean,
                                        tmp_path):
    wrap_iptables("sleep 0.2")
    run = product.popen("run", "--iptables", "--", "sleep", "60")
    wait_until(product.pidfile_locked, what="a starting instance")
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 128 + signal.SIGTERM
    product.wait_gone()
    assert residue.snapshot(product.namespace) == clean


def test_status_that_cannot_be_written(product, web):
    product.start("--redirect=steer")
    with open("/dev/full", "wb") as full:
        status = product.popen("status", stdout=full, stderr=full)
        assert status.wait(60) == FAILED


def test_worker_tells_local_time(network, product, web, tmp_path):
    """It has no files, so the time zone must be known before."""
    zone = tmp_path / "zone"
    # TZif (RFC 8536) with one type, 9 hours east.
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    header = b"TZif2" + bytes(15) + counts
    types = struct.pack(">lbB", 9 * 3600, 0, 0) + b"XYZ\0"
    zone.write_bytes(header + types + header + types + b"\nXYZ-9\n")
    product.environment["TZ"] = f":{zone}"
    product.start("--redirect=steer")
    with network.client.connect(Network.SERVER[4], 443) as challenge:
        challenge.sendall(hello.hello(hello.alpn(hello.ACME)))
        line = wait_until(lambda: [
            line for line in product.log_text().splitlines()
            if "127.0.0.1:31443" in line and "ready" not in line],
            what="the worker's word that no responder is there")[0]
    logged = time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S"))
    local = time.mktime(time.gmtime(time.time() + 9 * 3600))
    assert abs(logged - local) < 60
    product.stop()


# Hosts.

def test_first_process_of_a_container(network, product, web, prefixed, clean):
    """As pid 1, with a /proc of its own; stopped from outside of it."""
    start = product.namespace.popen(
        "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
        *product.command("start", "--redirect=steer"), env=product.environment)
    product.wait_running()
    visit(network, web, through_proxy=True).close()
    assert product.pidfile.read_text() == "1\n"
    product.stop("--wait")
    assert start.wait(60) == DONE
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("redirect, missing", [
    ("steer", "/proc /dev /run"), ("iptables", "/proc /dev")])
def test_missing_file_systems(redirect, missing, network, product, web,
                              prefixed, clean):
    """As in a small chroot. (iptables keeps its lock in /run.)"""
    hide = ["sh", "-ec", f"for folder in {missing}; do "
            'mount -t tmpfs -o ro none $folder; done; exec "$@"', "sh"]
    result = prefixed(hide, "start", "--daemon", f"--redirect={redirect}")
    assert result.returncode == DONE, result.stdout
    visit(network, web, through_proxy=True).close()
    result = prefixed(hide, "stop")
    assert result.returncode == DONE, result.stdout
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_users(network, product, web, prefixed):
    """Root is none; a number is one, where nobody has a name."""
    for name in ("root", "0"):
        result = product.run("start", "--daemon", "--redirect=steer", "--user",
                             name)
        assert result.returncode == FAILED
        assert "--user" in result.stdout
    nameless = ["sh", "-c", 'mount --bind /dev/null /etc/passwd && exec "$@"',
                "sh"]
    result = prefixed(nameless, "start", "--daemon", "--redirect=steer",
                      "--user", "4711")
    assert result.returncode == DONE, result.stdout
    status = open(f"/proc/{only_worker(product)}/status").read()
    assert "\nUid:\t4711\t4711\t4711\t4711\n" in status
    visit(network, web, through_proxy=True).close()
    product.stop()


def test_rights_that_cannot_be_given_up(network, product, prefixed, clean):
    result = prefixed(["setpriv", "--bounding-set", "-setuid,-setgid"],
                      "start", "--daemon", "--redirect=steer")
    assert result.returncode == FAILED
    assert "CAP_SETUID" in result.stdout + product.log_text()
    assert not product.pids()
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("limit", [4, 16, 40])
def test_few_descriptors(limit, network, product, web, prefixed, clean):
    """It works or says why not; nothing in between."""
    result = prefixed(["prlimit", f"--nofile={limit}"], "start", "--daemon",
                      "--redirect=steer")
    if result.returncode == DONE:
        visit(network, web, through_proxy=True).close()
        product.stop()
        product.wait_gone()
    else:
        assert "open files" in result.stdout + product.log_text()
        assert not product.pids()
        assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == clean


# Processes that stop, hang and die.

def test_hung_worker_is_replaced(network, product, web, clean):
    product.start("--redirect=steer")
    hung = only_worker(product)
    os.kill(hung, signal.SIGSTOP)
    # The lease runs out long before the watchdog bites.
    time.sleep(3)
    visit(network, web, through_proxy=False).close()
    wait_until(lambda: "replaced" in product.log_text(), what="another worker")
    assert "hung" in product.log_text()
    assert only_worker(product) != hung
    visit(network, web, through_proxy=True).close()
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


@contextlib.contextmanager
def frozen(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
               .split()[0] in "Tt", what="a stopped process")
    yield
    os.kill(pid, signal.SIGCONT)


def logged(product, text, times=1):
    wait_until(lambda: product.log_text().count(text) >= times,
               what=f"in the log, {times} times: {text}")


def test_worker_that_cannot_be_replaced_at_once(redirect, network, product, web,
                                                clean, tmp_path):
    """Until it can, visitors go to the web server."""
    product.start(f"--redirect={redirect}")
    supervisor = product.supervisor()
    tracer = Tracer(supervisor, tmp_path / "trace", "-e",
                    "inject=socketpair:error=EMFILE:when=1..3")
    product.kill(only_worker(product))
    logged(product, "trying again")
    with frozen(supervisor):
        for family in Network.SERVER:
            visit(network, web, through_proxy=False, family=family).close()
    logged(product, "replaced")
    tracer.stop()
    assert product.supervisor() == supervisor
    assert product.log_text().count("trying again") == 3
    wait_for_the_proxy(network, web)
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_pause_is_tried_again_while_no_worker_runs(
        network, product, web, wrap_iptables, clean, tmp_path):
    failed = tmp_path / "failed"
    wrap_iptables(f'case " $* " in *" -D "*) [ -s {failed} ] || '
                  f'{{ echo >{failed}; exit 4; }};; esac')
    failed.write_text("not yet")
    product.start("--iptables")
    supervisor = product.supervisor()
    tracer = Tracer(supervisor, tmp_path / "trace", "-e",
                    "inject=socketpair:error=EMFILE:when=1..4")
    failed.write_text("")
    product.kill(only_worker(product))
    logged(product, "cannot end the redirect")
    logged(product, "trying again", 2)
    with frozen(supervisor):
        visit(network, web, through_proxy=False).close()
    logged(product, "replaced")
    tracer.stop()
    wait_for_the_proxy(network, web)
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_worker_that_cannot_be_replaced_at_all(redirect, network, product, web,
                                               clean, tmp_path):
    start = product.popen("start", f"--redirect={redirect}")
    supervisor = product.wait_running()
    tracer = Tracer(supervisor, tmp_path / "trace", "-f", "-e",
                    "inject=setresuid:error=EPERM")
    product.kill(only_worker(product))
    assert start.wait(60) == FAILED
    tracer.stop()
    log = product.log_text()
    assert log.count(": ended with code 1") == GIVEN_UP_AT - 1, log
    assert f"{GIVEN_UP_AT} workers died one after the other" in log
    assert "error: no worker is left: giving up" in log
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == clean
    visit(network, web, through_proxy=False).close()


def test_frozen_together_and_thawed(network, product, web):
    """Ctrl-Z and fg, a frozen cgroup: the worker is not to blame."""
    product.start("--iptables")
    during = visit(network, web, through_proxy=True)
    supervisor, worker = product.supervisor(), only_worker(product)
    for pid in (worker, supervisor):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(11)
    os.kill(supervisor, signal.SIGCONT)
    time.sleep(1)
    os.kill(worker, signal.SIGCONT)
    during.visit()
    assert only_worker(product) == worker
    during.close()
    product.stop()


def test_terminal_cannot_stop_the_worker(network, product, web):
    """Ctrl-Z and Ctrl-\\ go to all processes of a terminal's job."""
    start = product.popen("start", "--iptables", start_new_session=True)
    product.wait_running()
    during = visit(network, web, through_proxy=True)
    os.killpg(start.pid, signal.SIGTSTP)
    os.kill(start.pid, signal.SIGSTOP)
    visit(network, web, through_proxy=True).close()
    os.killpg(start.pid, signal.SIGCONT)
    os.killpg(start.pid, signal.SIGQUIT)
    # Not for the worker: the handshakes under way come to their end.
    during.visit()
    wait_until(lambda: not product.pidfile.exists(), what="the end")
    assert start.wait(60) == DONE
    assert not product.pids()


@pytest.fixture
def stuck(product, wrap_iptables, tmp_path):
    """A supervisor was told to stop, and its rules will not go while this file
    is there."""
    broken = tmp_path / "broken"
    wrap_iptables(f'case " $* " in *" -D "*) [ ! -e {broken} ] || exit 4;; '
                  'esac')
    product.start("--iptables")
    broken.touch()
    os.kill(product.supervisor(), signal.SIGTERM)
    logged(product, "still there")
    return broken


def test_redirect_that_will_not_go(network, product, web, stuck):
    """Visitors still come: they are served, whatever dies meanwhile."""
    supervisor = product.supervisor()
    for _ in range(2):
        product.kill(only_worker(product))
        visit(network, web, through_proxy=True).close()
    before = processor_seconds(supervisor)
    time.sleep(1)
    assert processor_seconds(supervisor) - before < 0.2
    stuck.unlink()
    product.wait_gone()
    visit(network, web, through_proxy=False).close()


def test_supervisor_whose_redirect_will_not_go_looks_after_all_else(
        network, product, web, stuck):
    product.log.rename(product.log.with_name("proxy.log.1"))
    os.kill(product.supervisor(), signal.SIGUSR1)
    wait_until(product.log.exists, what="a new file")
    os.kill(only_worker(product), signal.SIGSTOP)
    logged(product, "replaced")
    assert "hung" in product.log_text()
    visit(network, web, through_proxy=True).close()
    stuck.unlink()
    product.wait_gone()
    visit(network, web, through_proxy=False).close()


def test_rule_that_is_there_although_it_failed(network, product, web,
                                               wrap_iptables, clean):
    """As when no descriptor was left to wait for the program's end."""
    wrap_iptables(f'case " $* " in *" -A "*hold*) '
                  f'{shutil.which("iptables")} "$@"; exit 4;; esac')
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode == FAILED
    assert "cannot keep connections tracked" in result.stdout
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_rule_that_a_killed_start_was_about_to_make(product, web,
                                                    wrap_iptables, clean,
                                                    tmp_path):
    """It does not come after the stop that would have removed it."""
    begun = tmp_path / "begun"
    wrap_iptables(f'case " $* " in *" -A "*) : >{begun}; sleep 2;; esac')
    start = product.popen("start", "--iptables")
    wait_until(begun.exists, what="a rule that is made")
    start.kill()
    start.wait()
    product.kill_all()
    product.stop()
    time.sleep(3)
    assert residue.snapshot(product.namespace) == clean


def test_shortage_at_the_last_step(network, product, web, wrap_iptables, clean,
                                   tmp_path):
    """Nobody would come later to take the inert rule away."""
    failed = tmp_path / "failed"
    wrap_iptables(f'case " $* " in *" -D "*hold*) '
                  f'[ $(cat {failed} | wc -l) -ge 2 ] || '
                  f'{{ echo >>{failed}; exit 4; }};; esac')
    failed.touch()
    product.start("--iptables")
    product.stop()
    product.wait_gone()
    assert failed.read_text() == "\n\n"
    assert residue.snapshot(network.server) == clean
    assert "error:" not in product.log_text()


def test_start_after_the_repair(redirect, network, product, web, clean):
    """The orphans' port is free again when stop has returned."""
    product.start(f"--redirect={redirect}")
    product.kill(product.supervisor())
    product.stop()
    product.start(f"--redirect={redirect}")
    visit(network, web, through_proxy=True).close()
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_worker_that_is_an_orphan_from_birth(product, tmp_path):
    """Without its lock nobody would find it, and it would keep the port."""
    trace = tmp_path / "trace"
    trace.touch()
    start = product.namespace.popen(
        "strace", "-f", "-o", trace, "-e", "inject=setsid:delay_enter=1000000",
        *product.command("start", "--iptables"), env=product.environment)
    wait_until(lambda: "setsid(" in trace.read_text(), what="a worker")
    children = open(f"/proc/{start.pid}/task/{start.pid}/children").read()
    os.kill(int(children), signal.SIGKILL)
    product.stop()
    product.wait_gone()
    start.wait(60)


def test_orphan_behind_a_redirect_of_the_users(network, product):
    """Nobody would take that away: its worker serves on."""
    listener = network.server.listen("127.0.0.1", 443)
    product.start("--no-redirect")
    product.kill(product.supervisor())
    time.sleep(4)
    with network.server.connect("127.0.0.1", 21443) as visitor:
        visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
        backend, _ = listener.accept()
        assert backend.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
        backend.close()
    product.stop("--no-redirect")
    product.wait_gone()
    listener.close()


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_log_that_nobody_reads(kind, network, product, web):
    """A halted terminal (Ctrl-S), a stalled ssh: no reason to stall."""
    ours, theirs = os.pipe() if kind == "pipe" else os.openpty()
    product.log = "-"
    start = product.popen("start", "--redirect=steer", "-v", stdout=theirs,
                          stderr=theirs)
    product.wait_running()
    with contextlib.suppress(BlockingIOError):
        os.set_blocking(theirs, False)
        while True:
            os.write(theirs, b"x" * 1000)
    os.set_blocking(theirs, True)
    assert not select.select([], [theirs], [], 0)[1]
    for _ in range(5):
        visit(network, web, through_proxy=True).close()
    start.terminate()
    assert start.wait(60) == DONE
    os.close(ours)
    os.close(theirs)


def test_signal_storm(redirect, network, product, web, clean):
    """More than one is no more than one; the log stays small."""
    product.start(f"--redirect={redirect}")
    supervisor = product.supervisor()
    during = visit(network, web, through_proxy=True)
    stop = product.popen("stop")
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(supervisor, number)
        time.sleep(0.001)
    assert stop.wait(60) == DONE
    during.visit()
    during.close()
    product.wait_gone()
    assert len(product.log_text().splitlines()) < 50
    assert residue.snapshot(network.server) == clean


# Clocks and memory.

def test_clock_that_jumps(redirect, network, product, web, send_visitors,
                          tmp_path):
    """The host's time is for the log alone; no deadline depends on it."""
    library = tmp_path / "jumping_clock.so"
    run("cc", "-shared", "-fPIC", "-O2", "-o", library,
        Path(__file__).parent / "harness/jumping_clock.c")
    product.environment["LD_PRELOAD"] = str(library)
    visitors = send_visitors(rate=50)
    product.start(f"--redirect={redirect}", "-v", "--hello-timeout", "1",
                  "--drain-timeout", "1")
    worker = only_worker(product)
    silent = network.client.connect(Network.SERVER[4], 443)
    silent.sendall(b"\x16")
    wait_until(lambda: status_of(product)["hello_timeouts"],
               what="an end of patience")
    silent.close()
    visitors.wait_for_more(100, "through_proxy")
    assert only_worker(product) == worker
    during = visit(network, web, through_proxy=True)
    visitors.finish_without_failures()
    began = time.monotonic()
    product.stop()
    product.wait_gone()
    # The grace, and the drain.
    assert time.monotonic() - began >= 4
    during.close()
    years = {line[:4] for line in product.log_text().splitlines()}
    assert len(years) == 2, years
    assert "hung" not in product.log_text()


@pytest.mark.parametrize("offset", [1000000, -100])
def test_time_namespace(offset, network, product, web, prefixed, clean):
    """A lease is written by one clock and read by the kernel's own."""
    result = prefixed(["unshare", "--time", "--monotonic", offset, "--fork"],
                      "start", "--daemon", "--redirect=steer")
    assert result.returncode == DONE, result.stdout
    visit(network, web, through_proxy=True).close()
    worker = only_worker(product)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(3)
    visit(network, web, through_proxy=False).close()
    os.kill(worker, signal.SIGCONT)
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def limit_memory(pid, size):
    """As its own user: root needs CAP_SYS_RESOURCE for that."""
    run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
        "prlimit", "--pid", pid, f"--as={size}:unlimited")


def test_worker_without_memory(network, product, web):
    """It turns away whom it has no room for; the others do not notice."""
    product.start("--redirect=steer")
    worker = only_worker(product)
    during = visit(network, web, through_proxy=True)
    size = int(open(f"/proc/{worker}/statm").read().split()[0])
    limit_memory(worker, size * resource.getpagesize())
    crowd = [network.client.connect(Network.SERVER[4], 443)
             for _ in range(MANY)]
    for one in crowd:
        with contextlib.suppress(OSError):
            one.sendall(hello.hello(hello.alpn(hello.ACME))[:100])
    refused = 0
    for one in crowd:
        one.settimeout(0.001)
        try:
            one.recv(1)
            refused += 1
        except TimeoutError:
            pass
        except OSError:
            refused += 1
    assert refused > 0
    before = processor_seconds(worker)
    for _ in range(5):
        during.visit()
        time.sleep(0.2)
    assert processor_seconds(worker) - before < 0.5
    limit_memory(worker, "unlimited")
    # It had so little time for them that they may have gone past it.
    wait_for_the_proxy(network, web)
    assert only_worker(product) == worker
    for one in crowd:
        one.close()
    during.visit()
    during.close()
    product.stop()


# A worker that was taken over.

PIDFD_GETFD = 438


def steal_control_socket(worker):
    """The worker's end of what it tells the supervisor by."""
    handle = os.pidfd_open(worker)
    for number in map(int, os.listdir(f"/proc/{worker}/fd")):
        ours = ctypes.CDLL(None).syscall(PIDFD_GETFD, handle, number, 0)
        if ours < 0:
            continue
        if stat.S_ISSOCK(os.fstat(ours).st_mode):
            found = socket.socket(fileno=ours)
            if found.type == socket.SOCK_SEQPACKET:
                os.close(handle)
                return found
            found.close()
        else:
            os.close(ours)
    os.close(handle)
    pytest.skip("no CAP_SYS_PTRACE to take a descriptor of the worker")


def test_worker_that_babbles(network, product, web, clean):
    """Whatever it says, it can only harm itself."""
    product.start("--redirect=steer")
    supervisor, worker = product.supervisor(), only_worker(product)
    with steal_control_socket(worker) as control:
        for message in (b"R", b"C", b"D", b"T", b"\xff", b"\0" * 1000) * 50:
            # The supervisor reads one in each of its turns.
            assert select.select([], [control], [], 10)[1]
            control.send(message)
        visit(network, web, through_proxy=True).close()
        assert status_of(product)["worker_pid"] == worker
        # What the end of its life looks like.
        assert select.select([], [control], [], 10)[1]
        control.send(b"")
    wait_until(lambda: "replaced" in product.log_text(), what="another worker")
    assert product.supervisor() == supervisor
    wait_for_the_proxy(network, web)
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


# Confinement.

def test_missing_confinement_is_told_once(network, product, web):
    """A kernel without Landlock: no reason not to run, but to say so."""
    start = product.namespace.popen(
        "strace", "-f", "-qq", "-o", os.devnull, "-e",
        "inject=landlock_create_ruleset:error=ENOSYS",
        *product.command("start", "--redirect=steer"), env=product.environment)
    product.wait_running()
    assert set(status_of(product)["confinement"]) == {
        "user", "capabilities", "root", "calls"}
    for deaths in (1, 2):
        product.kill(only_worker(product))
        wait_until(lambda: product.log_text().count("replaced") == deaths,
                   what="another one")
    wait_for_the_proxy(network, web)
    product.stop()
    assert start.wait(60) == DONE
    told = [line for line in product.log_text().splitlines()
            if "not confined" in line]
    assert len(told) == 1, told
    assert "by files ports processes: " in told[0]


def test_full_confinement_needs_no_word(network, product, web):
    product.start("--redirect=steer")
    everything = {"user", "capabilities", "root", "files", "ports", "calls",
                  "processes"}
    if set(status_of(product)["confinement"]) != everything:
        pytest.skip("this kernel has no Landlock of 6.12")
    assert "not confined" not in product.log_text()
    product.stop()
