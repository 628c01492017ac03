# SPDX-License-Identifier: MIT
"""Network namespaces: a whole network that a test makes and removes."""

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
NAME_PREFIX = "acme-system"

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def wait_until(condition, timeout=60.0, what="a condition"):
    """Return condition()'s first true value; fail after timeout seconds, which
    are far more than a slow and busy machine takes."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout} s")
        time.sleep(0.01)


def run(*command, check=True, timeout=120, **options):
    """Run a program outside of any namespace of ours; its output is text."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.STDOUT)
    result = subprocess.run([str(word) for word in command], text=True,
                            stdin=subprocess.DEVNULL, timeout=timeout,
                            **options)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code "
                             f"{result.returncode}\n{result.stdout}")
    return result


class Namespace:
    """One host of a test's network, known by a name that carries our pid."""

    def __init__(self, label):
        self.label = label
        self.name = f"{NAME_PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"
        run("ip", "netns", "add", self.name)
        self._handle = os.open(f"/run/netns/{self.name}",
                               os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self._handle).st_ino
        # Addresses are of use at once, without duplicate address detection.
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def popen(self, *words, **options):
        """Start a program; its pid is the program's own."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.command(*words), **options)

    def sysctl(self, name, value):
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    @contextlib.contextmanager
    def entered(self):
        """The calling thread, and no other, is in this namespace."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            self._enter(self._handle)
            try:
                yield
            finally:
                self._enter(home.fileno())

    @staticmethod
    def _enter(handle):
        if _libc.setns(handle, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket of this namespace, usable from everywhere."""
        with self.entered():
            return socket.socket(family, kind)

    def connect(self, address, port, timeout=20.0, source_port=0):
        connection = self.socket(family_of(address))
        connection.settimeout(timeout)
        try:
            if source_port:
                connection.bind(("", source_port))
            connection.connect((address, port))
        except OSError:
            connection.close()
            raise
        return connection

    def listen(self, address, port, backlog=1024, device=None):
        listener = self.socket(family_of(address))
        if device:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                                device.encode())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        return listener

    def listen_on_path(self, path, backlog=1024):
        """@path may be "\\0" and an abstract name of this namespace."""
        listener = self.socket(socket.AF_UNIX)
        listener.bind(str(path))
        if not str(path).startswith("\0"):
            os.chmod(path, 0o666)
        listener.listen(backlog)
        return listener

    def pids(self):
        """All processes of this namespace."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns/net").st_ino == self.inode:
                    found.append(int(entry.name))
        return found

    def listening(self, port):
        return f":{port} " in self.run("ss", "-Htln", f"sport = :{port}").stdout

    def remove(self):
        """End what runs in here, then take the namespace away."""
        for pid in set(self.pids()) - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.close(self._handle)
        run("ip", "netns", "delete", self.name)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def remove_abandoned():
    """Remove the namespaces of a test run that was itself killed."""
    for path in Path("/run/netns").glob(f"{NAME_PREFIX}-*"):
        owner = path.name.split("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            run("ip", "netns", "delete", path.name, check=False)


def link(one, one_name, other, other_name):
    """A veth pair, one end in each namespace, up."""
    run("ip", "link", "add", "name", one_name, "netns", one.name, "type",
        "veth", "peer", "name", other_name, "netns", other.name)
    one.run("ip", "link", "set", one_name, "up")
    other.run("ip", "link", "set", other_name, "up")


def add_address(namespace, device, address):
    words = ["ip", "address", "add", address, "dev", device]
    namespace.run(*words, *(["nodad"] if ":" in address else []))
