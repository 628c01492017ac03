# SPDX-License-Identifier: MIT
"""The program under test, with a pidfile and a log of its own."""

import contextlib
import fcntl
import os
import re
import signal
import struct
from pathlib import Path

from .namespace import wait_until

LISTEN_PORT = 21443
REDIRECTS = ("handoff", "steer", "iptables")
# What runs a start as on a kernel without tcx: what is attached outlives all
# processes.
WITHOUT_TCX = Path(__file__).parent / "without_tcx"


def parent(pid):
    """The parent's pid, or None if the process is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text()
        return int(text.rpartition(")")[2].split()[1])
    return None


class Product:
    def __init__(self, program, namespace, directory):
        self.program = Path(program).resolve()
        self.namespace = namespace
        self.pidfile = directory / "proxy.pid"
        self.log = directory / "proxy.log"
        self.environment = dict(os.environ,
                                ACME_ALPN_PROXY_PIDFILE=str(self.pidfile))
        for name in ("ACME_ALPN_PROXY_RULESPEC", "ACME_ALPN_PROXY_DISABLEV6"):
            self.environment.pop(name, None)

    def command(self, *words):
        return [str(self.program), "--log-file", str(self.log), *words]

    def run(self, *words, by=(), **options):
        """One operation, @by another program; the result's exit code is for
        the caller."""
        options.setdefault("env", self.environment)
        options.setdefault("check", False)
        return self.namespace.run(*by, *self.command(*words), **options)

    def succeed(self, *words, **options):
        result = self.run(*words, **options)
        assert result.returncode == 0, (
            f"{' '.join(words)}: exit code {result.returncode}\n"
            f"{result.stdout}\n--- log\n{self.log_text()}")
        return result

    def take_iptables(self, variant, directory):
        """nft or legacy, whatever the host's own is."""
        tools = directory / "tools"
        tools.mkdir()
        for command in ("iptables", "ip6tables"):
            (tools / command).symlink_to(f"/usr/sbin/{command}-{variant}")
        path = self.environment["PATH"]
        self.environment["PATH"] = f"{tools}:{path}"

    def start(self, *options, by=()):
        return self.succeed("start", "--daemon", *options, by=by)

    def stop(self, *options):
        return self.succeed("stop", *options)

    def popen(self, *words, **options):
        """A start in the foreground."""
        options.setdefault("env", self.environment)
        return self.namespace.popen(*self.command(*words), **options)

    def log_text(self):
        return self.log.read_text() if self.log.exists() else ""

    def pids(self):
        """
        Every process of this program in its namespace, to the very end: one
        that is dying has still open sockets when its exe is gone already, but
        not when its name is.
        """
        found = []
        for pid in self.namespace.pids():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
                if name == self.program.name[:15]:
                    found.append(pid)
        return found

    def supervisor(self):
        """The pid that the pidfile tells, or None."""
        with contextlib.suppress(FileNotFoundError):
            text = self.pidfile.read_text()
            if text:
                assert re.fullmatch(r"[1-9][0-9]*\n", text), repr(text)
                return int(text)
        return None

    def _children(self):
        lists = Path(f"/proc/{self.supervisor()}/task").glob("*/children")
        ours = self.pids()
        return [int(pid) for path in lists
                for pid in path.read_text().split() if int(pid) in ours]

    def workers(self):
        """
        Workers of the supervisor that the pidfile tells: of its children those
        that lead a session of their own, and so are no iptables, nor about to
        be.
        """
        found = []
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == pid:
                    found.append(pid)
        return found

    def worker(self):
        """The only one."""
        def alone():
            workers = self.workers()
            return workers if len(workers) == 1 else None

        (pid,) = wait_until(alone, what="one worker")
        return pid

    def kill(self, pid, signal_number=signal.SIGKILL):
        """Kill one process of ours and wait until it is gone."""
        assert pid in self.pids()
        os.kill(pid, signal_number)
        wait_until(lambda: pid not in self.pids(), what=f"end of {pid}")

    def kill_all(self):
        """Supervisors first: they would react to the death of a worker. One
        that was being born when we looked is found the next time."""
        def all_killed():
            pids = self.pids()
            for pid in sorted(pids, key=lambda pid: parent(pid) in pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        wait_until(all_killed, what="end of all processes")

    def wait_running(self, timeout=60):
        return wait_until(self.supervisor, timeout, "a pid in the pidfile")

    def wait_gone(self, timeout=60):
        wait_until(lambda: not self.pids(), timeout, "the end of the program")

    def listening(self):
        return self.namespace.listening(LISTEN_PORT)

    def pidfile_locked(self):
        """Is byte 0 of the pidfile locked, as long as an instance lives?"""
        try:
            handle = os.open(self.pidfile, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1,
                                   0)
            answer = fcntl.fcntl(handle, fcntl.F_GETLK, question)
            return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK
        finally:
            os.close(handle)

    def bpf_objects(self):
        """Ids of the programs, maps and links that its processes hold."""
        found = set()
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for path in Path(f"/proc/{pid}/fdinfo").iterdir():
                    found.update(re.findall(r"^(prog|map|link)_id:\s*(\d+)$",
                                            path.read_text(), re.MULTILINE))
        return found
