# SPDX-License-Identifier: MIT
"""
Faults at chosen system calls, by strace's injection, and the ground on which
they are tried: a server with a web server behind port 443 and a visitor.

strace counts the calls of each name by themselves, so that a moment is a name
and a number: "the third socket()".
"""

import contextlib
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import residue
from .namespace import wait_until
from .network import Network
from .product import Product
from .recorder import Recorder

# Most of a trial is waiting.
PARALLEL = 8
# Calls that change nothing which somebody could find later.
HARMLESS = frozenset("""
    access brk capget clock_gettime clock_nanosleep close dup dup2 epoll_wait
    faccessat fcntl fstat futex getegid geteuid getgid getpgrp getpid getrandom
    getsockname getsockopt getuid ioctl lseek lstat madvise mmap mprotect
    mremap munmap newfstatat nanosleep pidfd_open poll ppoll prctl pread64
    prlimit64 read readlink recvfrom recvmsg restart_syscall rt_sigaction
    rt_sigprocmask rt_sigtimedwait sched_getaffinity set_robust_list
    set_tid_address setitimer sigaltstack stat statfs sysinfo uname
    """.split())


@dataclass(frozen=True)
class Moment:
    """The @number-th call of @name, from 1."""
    name: str
    number: int

    def __str__(self):
        return f"{self.name} no. {self.number}"


def moments(trace, after=None):
    """The calls in the text of a trace, from the first that matches @after."""
    seen = {}
    found = []
    begun = after is None
    for line in trace.splitlines():
        match = re.match(r"(\w+)\(", line)
        if not match:
            continue
        name = match.group(1)
        seen[name] = seen.get(name, 0) + 1
        begun = begun or re.search(after, line) is not None
        if begun:
            found.append(Moment(name, seen[name]))
    return found


def sample(choice, count):
    """@count of them, spread evenly; all if there are fewer."""
    if count >= len(choice):
        return choice
    step = len(choice) / count
    return [choice[int((i + 0.5) * step)] for i in range(count)]


class Tracer:
    """strace on a process that runs."""

    def __init__(self, pid, output, *words):
        self._process = subprocess.Popen(
            ["strace", "-o", str(output), *words, "-p", str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        line = self._process.stderr.readline()
        assert b"attached" in line, line

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._process.stderr.close()


class Ground:
    """Where a fault is tried; clean again after each trial."""

    def __init__(self, program, directory):
        self.directory = directory
        directory.mkdir()
        self.network = Network()
        self.web = Recorder(self.network.server, "web", 443, "0.0.0.0")
        self.web6 = Recorder(self.network.server, "web", 443, "::")
        self.product = Product(program, self.network.server, directory)
        self.clean = residue.snapshot(self.network.server)

    def remove(self):
        self.product.kill_all()
        self.web.stop()
        self.web6.stop()
        self.network.remove()

    def start_traced(self, words, *strace):
        """A start in the foreground, under strace (the supervisor alone)."""
        return self.product.namespace.popen(
            "strace", "-o", self.directory / "trace", *strace, "--",
            *self.product.command("start", *words), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=self.product.environment)

    def visit(self, families=(4, 6), timeout=10):
        """What every visitor must find at any moment: the web server."""
        for family in families:
            with self.network.client.connect(Network.SERVER[family], 443,
                                             timeout) as visitor:
                visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert visitor.recv(100) == b"web\n", "not the web server"

    def stop_and_check(self):
        """After the next stop all is as if nothing had been."""
        result = self.product.run("stop")
        assert result.returncode == 0, f"stop: {result.stdout}"
        self.visit()
        self.product.wait_gone()
        self.check_clean()

    def check_clean(self):
        left = [path.name for path in self.directory.iterdir()
                if path.suffix in (".pid", ".sock")]
        assert not left, f"left: {left}"
        # A process that tidies up behind us may be about to end.
        wait_until(lambda: residue.snapshot(self.network.server) == self.clean,
                   what="a clean host")


def run_trials(program, directory, trials):
    """
    Run trial(ground) for each of the named trials, several at a time, each on
    a ground of its own; fail with the names of those that failed.
    """
    local = threading.local()
    grounds = []
    lock = threading.Lock()
    failures = []

    def run(name, trial):
        if not hasattr(local, "ground"):
            with lock:
                number = len(grounds)
                grounds.append(None)
            local.ground = Ground(program, directory / f"ground{number}")
            grounds[number] = local.ground
        ground = local.ground
        ground.product.log.unlink(missing_ok=True)
        began = time.monotonic()
        try:
            trial(ground)
        except Exception as error:
            failures.append(f"{name} after {time.monotonic() - began:.1f} s: "
                            f"{type(error).__name__}: {error}\n"
                            f"--- log\n{ground.product.log_text()}")
            ground.product.kill_all()
            ground.product.run("stop")
            ground.product.kill_all()

    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for _ in pool.map(lambda item: run(*item), trials):
                pass
    finally:
        for ground in grounds:
            if ground:
                ground.remove()
    assert not failures, "\n\n".join(failures)
