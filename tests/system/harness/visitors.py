# SPDX-License-Identifier: MIT
"""Visitors: many short ones (tests/tools/visitors.c), and one that stays."""

import json
import select
import signal
import ssl
import subprocess
import warnings

from .namespace import wait_until


def way_of(redirect):
    """What there are more of in the totals while it is in place."""
    return "own_address" if redirect == "handoff" else "through_proxy"


def assert_went_by(redirect, totals):
    """Those before and after it went to the web server, as ever."""
    assert 0 < totals[way_of(redirect)], totals
    if redirect == "handoff":
        assert totals["own_address"] == totals["ok"], totals
    else:
        assert totals["through_proxy"] < totals["ok"], totals


class Visitors:
    """A steady rate of new TLS connections from @namespace to @address."""

    RATE = 120

    def __init__(self, tool, namespace, address, web, directory, rate=RATE,
                 threads=16):
        self.rate = rate
        self._errors_path = directory / f"visitors-{address.replace(':', '.')}"
        self._errors = open(self._errors_path, "wb")
        self._process = namespace.popen(
            tool, "-n", web.name, "-f", web.certificate.fingerprint, "-p",
            web.page, "-r", rate, "-t", threads, address, 443,
            stdout=subprocess.PIPE, stderr=self._errors)
        # Before its first line, a SIGUSR1 would end it.
        assert self._process.stdout.readline(), self._errors_path.read_text()

    def totals(self):
        """What happened so far."""
        self._process.send_signal(signal.SIGUSR1)
        return json.loads(self._process.stdout.readline())

    def wait_for_more(self, count, key="ok", timeout=60):
        """Until @count more visits of this kind were made."""
        goal = self.totals()[key] + count
        wait_until(lambda: self.totals()[key] >= goal, timeout,
                   f"{count} more visits that are {key}")

    def finish(self):
        """Send all home; returns the totals."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=60)
        self._errors.close()
        return json.loads(output)

    def finish_without_failures(self):
        totals = self.finish()
        failures = self._errors_path.read_text()
        assert totals["visits"] > 0
        assert totals["ok"] == totals["visits"], f"{totals}\n{failures}"
        assert totals["handshake_retransmissions"] == 0, totals
        return totals


class Crowd:
    """Several Visitors as one; each of them has to do what is asked."""

    def __init__(self, visitors):
        self._visitors = visitors

    def totals(self):
        return self._sum([one.totals() for one in self._visitors])

    def wait_for_more(self, count, key="ok", timeout=60):
        goals = [one.totals()[key] + count for one in self._visitors]
        wait_until(lambda: all(one.totals()[key] >= goal for one, goal
                               in zip(self._visitors, goals)), timeout,
                   f"{count} more visits that are {key}")

    def finish(self):
        return self._sum([one.finish() for one in self._visitors])

    def finish_without_failures(self):
        totals = self._sum([one.finish_without_failures()
                            for one in self._visitors])
        rate = totals["visits"] / totals["seconds"]
        if rate < 0.9 * sum(one.rate for one in self._visitors):
            warnings.warn(f"this machine was too busy for more than "
                          f"{rate:.0f} visits/s")
        return totals

    @staticmethod
    def _sum(totals):
        slowest = max(one["slowest_ms"] for one in totals)
        seconds = max(one["seconds"] for one in totals)
        summed = {key: sum(one[key] for one in totals) for key in totals[0]}
        return {**summed, "slowest_ms": slowest, "seconds": seconds}


class LongVisitor:
    """One TLS connection that stays open and asks for the page on demand."""

    def __init__(self, namespace, address, web, port=443, source_port=0,
                 timeout=20.0):
        context = ssl.create_default_context(cafile=str(web.certificate.path))
        self._web = web
        self._socket = context.wrap_socket(
            namespace.connect(address, port, timeout, source_port),
            server_hostname=web.name)
        self._file = self._socket.makefile("rb")
        self.port = self._socket.getsockname()[1]
        # Of the web server: our address as it sees it; what a PROXY header
        # told of it, from whom to whom.
        self.peer = None
        self.announced = None

    @classmethod
    def through_the_proxy(cls, namespace, address, web):
        """
        One that came through the proxy. A client may happen to take a port
        that the server remembers (TIME_WAIT) from a direct visit, and then
        goes to the web server, as it should.
        """
        for _ in range(10):
            visitor = cls(namespace, address, web)
            visitor.visit()
            if visitor.through_proxy:
                return visitor
            visitor.close()
        raise AssertionError("no visitor came through the proxy")

    def visit(self, last=False):
        """Ask for the page once more, and compare it; @last: then be left."""
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: " +
                             self._web.name.encode() +
                             (b"\r\nConnection: close" if last else b"") +
                             b"\r\n\r\n")
        assert self._file.readline().startswith(b"HTTP/1.1 200 ")
        length = 0
        while (line := self._file.readline().strip()):
            name, _, value = line.partition(b": ")
            if name == b"Content-Length":
                length = int(value)
            elif name == b"X-Peer":
                self.peer = value.decode()
            elif name == b"X-Announced":
                self.announced = value.decode().split()
        assert self._file.read(length) == self._web.page.read_bytes()
        if last:
            assert self._file.read() == b""
            # TLS has ended; wait for TCP's end too.
            end = select.poll()
            end.register(self._socket, select.POLLRDHUP)
            assert end.poll(60000)
            self.close()

    @property
    def through_proxy(self):
        return self.peer.startswith("127.")

    def close(self):
        self._file.close()
        self._socket.close()
