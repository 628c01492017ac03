# SPDX-License-Identifier: MIT
"""
A death or an error at the system calls of start, service and stop.

Each run takes a sample of them. FAULTS=5 in the environment makes it five times
as large, and FAULTS=all complete: every call of a start and a stop that changes
something (an hour).
"""

import contextlib
import os
import signal
import socket
import time

import pytest

from harness.faults import (HARMLESS, Ground, Tracer, moments, run_trials,
                            sample)
from harness.namespace import wait_until
from harness.network import Network

FAULTS = os.environ.get("FAULTS", "1")
ALL = FAULTS == "all"
TIMES = 10**6 if ALL else int(FAULTS)
DEATHS, ERRORS_EACH = 8 * TIMES, TIMES
# What main() calls first; what comes before is the C library's.
MAIN = r"rt_sigaction\(SIGCHLD"
# The pidfile tells that it runs: the last step of a start.
READY = r"^pwrite64\(.*\\n"
REDIRECTS = ("steer", "iptables")

# What each call may well fail with.
ERRORS = {
    "bind": "EADDRNOTAVAIL", "bpf": "ENOMEM", "clone": "EAGAIN",
    "clone3": "EAGAIN", "fallocate": "ENOSPC", "fchmod": "EROFS",
    "fcntl": "ENOLCK", "ftruncate": "EIO", "listen": "EADDRINUSE",
    "memfd_create": "EMFILE",
    "mmap": "ENOMEM", "openat": "EMFILE", "pidfd_open": "EMFILE",
    "pipe2": "EMFILE", "pwrite64": "ENOSPC", "recvfrom": "ENOBUFS",
    "sendto": "ENOBUFS", "setsockopt": "ENOMEM", "signalfd4": "EMFILE",
    "socket": "ENOBUFS", "socketpair": "EMFILE", "unlink": "EROFS",
    "write": "ENOSPC",
}

# Those of them that a stop makes.
STOP_ERRORS = ERRORS if ALL else ("bpf", "clone3", "memfd_create",
                                 "sendto", "unlink")

# In the worker: the call, its error, and which of the calls after the start.
WORKER_ERRORS = [
    ("accept4", "EMFILE", "1..2"), ("accept4", "ENOMEM", "1"),
    ("accept4", "ECONNABORTED", "1"), ("accept4", "EPERM", "1"),
    ("socket", "EMFILE", "1..2"), ("socket", "ENOBUFS", "1"),
    ("connect", "ENETUNREACH", "1"), ("connect", "EAGAIN", "1"),
    ("setsockopt", "ENOBUFS", "1+"), ("select,pselect6", "ENOMEM", "1..9"),
    ("select,pselect6", "EINTR", "1..99"), ("epoll_ctl", "ENOSPC", "1+"),
    ("epoll_wait", "EINTR", "1..99"), ("sendto", "ENOBUFS", "1"),
    ("recvfrom", "ENOMEM", "1"), ("splice", "EINVAL", "1+"), ("splice", "ENOMEM", "1"),
    ("pipe2", "EMFILE", "1+"), ("fcntl", "EPERM", "1+"),
]


@pytest.fixture(autouse=True)
def time_for_all(time_limit):
    if TIMES > 1:
        signal.alarm(0)


@pytest.fixture(scope="module")
def calls(program, tmp_path_factory):
    """{redirect: (calls of a start, calls of a stop)}, as they were once."""
    ground = Ground(program, tmp_path_factory.mktemp("record") / "ground")
    found = {}
    try:
        for redirect in REDIRECTS:
            process = ground.start_traced([f"--redirect={redirect}"])
            wait_for_start(ground, process)
            ground.stop_and_check()
            process.communicate(timeout=60)
            trace = (ground.directory / "trace").read_text()
            both = moments(trace, MAIN)
            stop = moments(trace, READY)
            found[redirect] = (both[:len(both) - len(stop)], stop)
    finally:
        ground.remove()
    return found


def wait_for_start(ground, process):
    """Until it serves or has ended."""
    wait_until(lambda: process.poll() is not None or
               ground.product.supervisor(), what="an end of the start")


def death(redirect, moment, in_start):
    def trial(ground):
        process = ground.start_traced(
            [f"--redirect={redirect}"], "-e",
            f"inject={moment.name}:signal=KILL:when={moment.number}")
        wait_for_start(ground, process)
        ground.visit()
        # The last steps of a start come after the pidfile tells of it.
        if not in_start and process.poll() is None:
            result = ground.product.run("stop")
            assert result.returncode == 0, f"stop: {result.stdout}"
            ground.visit()
            process.communicate(timeout=60)
        ground.stop_and_check()
        process.communicate(timeout=60)
    return trial


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_killed_at_a_call(redirect, calls, program, tmp_path):
    start, stop = calls[redirect]
    trials = []
    for phase, moments_of_phase in (("start", start), ("stop", stop)):
        choice = [moment for moment in moments_of_phase
                  if moment.name not in HARMLESS]
        assert len(choice) > 5, choice
        trials += [(f"{phase}, killed at {moment}",
                    death(redirect, moment, phase == "start"))
                   for moment in sample(choice, DEATHS)]
    run_trials(program, tmp_path, trials)


def check_refusal(ground, process):
    """It ended by itself: one clear reason, and nothing was changed."""
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 1, f"code {process.returncode}: {output}"
    errors = [line for line in output.splitlines()
              if line.startswith("error: ")]
    assert 1 <= len(errors) <= 3, output
    assert not ground.product.pids(), "processes are left"


def error_in_start(redirect, moment):
    def trial(ground):
        process = ground.start_traced(
            [f"--redirect={redirect}"], "-e", f"inject={moment.name}:"
            f"error={ERRORS[moment.name]}:when={moment.number}")
        wait_for_start(ground, process)
        if process.poll() is not None:
            check_refusal(ground, process)
            # Without locks nobody knows whose an empty pidfile is.
            if moment.name == "fcntl":
                ground.stop_and_check()
            ground.check_clean()
            ground.visit()
        else:
            ground.visit()
            ground.stop_and_check()
            process.communicate(timeout=60)
    return trial


def error_in_stop(redirect, moment):
    """A stop may take longer then, never is it left undone."""
    def trial(ground):
        process = ground.start_traced(
            [f"--redirect={redirect}"], "-e", f"inject={moment.name}:"
            f"error={ERRORS[moment.name]}:when={moment.number}")
        wait_for_start(ground, process)
        ground.visit()
        ground.stop_and_check()
        process.communicate(timeout=60)
    return trial


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_error_of_a_call(redirect, calls, program, tmp_path):
    trials = []
    for phase, make, names, choice in (
            ("start", error_in_start, ERRORS, calls[redirect][0]),
            ("stop", error_in_stop, STOP_ERRORS, calls[redirect][1])):
        for name in names:
            trials += [(f"{phase}, {ERRORS[name]} of {moment}",
                        make(redirect, moment)) for moment in sample(
                            [one for one in choice if one.name == name],
                            ERRORS_EACH)]
    run_trials(program, tmp_path, trials)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def visitor(ground):
    """One who may be out of luck, perhaps before connect() has returned."""
    try:
        one = ground.network.client.connect(Network.SERVER[4], 443, 5)
    except OSError:
        # Whatever is tried with it fails as well.
        one = socket.socket()
    with one, contextlib.suppress(OSError):
        yield one


def make_it_work(ground):
    """All kinds of calls: of silent visitors, of slow ones, of big ones."""
    with visitor(ground) as silent:
        silent.sendall(b"x")
        for size in 20 * [1] + [1 << 20]:
            with visitor(ground) as one:
                one.sendall(os.urandom(size))
                one.recv(100)
        silent.recv(100)


def error_in_worker(redirect, name, error, when):
    def trial(ground):
        ground.product.start(f"--redirect={redirect}")
        worker = ground.product.worker()
        tracer = Tracer(worker, ground.directory / "trace", "-e",
                        f"inject={name}:error={error}:when={when}")
        make_it_work(ground)
        before = processor_seconds(worker)
        time.sleep(1)
        spent = processor_seconds(worker) - before
        tracer.stop()
        trace = (ground.directory / "trace").read_text()
        assert "INJECTED" in trace, "nothing was injected"
        assert spent < 0.3, f"{spent} s of 1 s spent for nothing"
        assert ground.product.worker() == worker, "another worker"
        ground.visit()
        ground.stop_and_check()
    return trial


def test_error_in_the_worker(program, tmp_path):
    """That connection may fail; the others and the loop do not."""
    run_trials(program, tmp_path,
               [(f"worker, {error} of {name} no. {when}",
                 error_in_worker("steer", name, error, when))
                for name, error, when in WORKER_ERRORS])
