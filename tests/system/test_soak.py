# SPDX-License-Identifier: MIT
"""
Hours in small: everything that visitors do, all the time, with memory and
descriptors that stay what they are.

SOAK in the environment is how many seconds it lasts (20).
"""

import collections
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import struct
import threading
import time
import traceback

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.worker_load import (descriptors, processor_seconds,
                                 resident_kib)

SECONDS = float(os.environ.get("SOAK", "20"))
RATE = 40
THREADS = 4
# So long that no hello of ours comes too late on a busy machine.
HELLO_TIMEOUT = 4
# Each thread's own, or one would come upon a port that the server remembers
# (TIME_WAIT) and gives to the web server.
FIRST_PORT, PORTS_EACH = 10000, 12000
ACME_HELLO = hello.hello(hello.alpn(hello.ACME))
# What may be kept for later: a pipe for each direction of as many bulk
# transfers as there were at a time, and a heap that found its size.
SPARE_DESCRIPTORS = 4 * THREADS
SPARE_KIB = 256
SUPERVISOR_SPARE_KIB = 128
STATUS_SERVER_WATCHERS = 4
COUNTS = ("hello_timeouts", "alpn_unreachable", "fallback_unreachable",
          "resets", "accept_pauses")
# Of SYNs that went to the web server.
VERDICTS = ("not_steering", "existing_flow", "unanswered", "refused")


@pytest.fixture(autouse=True)
def time_for_all(time_limit):
    signal.alarm(int(SECONDS) + 120)


class Responder:
    """Echoes to the end; its clients do as they like."""

    def __init__(self, namespace):
        self._listener = namespace.listen("127.0.0.1", 31443)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,),
                                 daemon=True).start()

    @staticmethod
    def _echo(connection):
        with connection, contextlib.suppress(OSError):
            while (chunk := connection.recv(65536)):
                connection.sendall(chunk)

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def echo(connection, data):
    """All comes back, then the end."""
    sender = threading.Thread(target=lambda: (
        connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
    sender.start()
    received = bytearray()
    while (chunk := connection.recv(65536)):
        received += chunk
    sender.join()
    assert received == data


# Each kind computes what it needs and returns what it does once connected: on
# a busy machine, bytes that are not at hand make a hello that comes too late.

def whole(chance):
    data = ACME_HELLO + b"x" * chance.randrange(2000)
    return lambda connection: echo(connection, data)


def in_pieces(chance):
    cut = chance.randrange(1, len(ACME_HELLO))

    def act(connection):
        connection.sendall(ACME_HELLO[:cut])
        time.sleep(0.01)
        connection.sendall(ACME_HELLO[cut:])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    return act


def bulk(chance):
    data = ACME_HELLO + chance.randbytes(1 << 20)
    return lambda connection: echo(connection, data)


def end_in_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, 0))


def reset(chance):
    data = ACME_HELLO[:chance.randrange(len(ACME_HELLO) + 1)]

    def act(connection):
        connection.sendall(data)
        end_in_reset(connection)
    return act


def reset_amid_bulk(chance):
    data = ACME_HELLO + chance.randbytes(8 << 20)

    def act(connection):
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            connection.sendall(data)
        end_in_reset(connection)
    return act


def silent(chance):
    return lambda connection: time.sleep(chance.uniform(0, 0.5))


def stalled(_chance):
    """Longer than the hello timeout, in the midst of a hello."""
    def act(connection):
        connection.sendall(ACME_HELLO[:100])
        time.sleep(HELLO_TIMEOUT + 0.5)
    return act


# One that takes its time is enough of them.
KINDS = 3 * (whole, in_pieces, bulk, reset, reset_amid_bulk, silent) + (
    stalled,)


class Mischief:
    """Threads that do one of each kind after the other."""

    def __init__(self, network, product, seed):
        self._network = network
        self._product = product
        self._began = time.monotonic()
        self._ended = threading.Event()
        self.failures = []
        self.counts = collections.Counter()
        self._threads = [threading.Thread(target=self._run,
                                          args=(number, random.Random(
                                              seed + number)))
                         for number in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number, chance):
        ports = range(FIRST_PORT + number * PORTS_EACH,
                      FIRST_PORT + (number + 1) * PORTS_EACH)
        for port in itertools.cycle(ports):
            if self._ended.wait(0.05):
                return
            kind = chance.choice(KINDS)
            act = kind(chance)
            connected = time.monotonic()
            try:
                with self._network.authority.connect(
                        Network.SERVER_FOR_AUTHORITY[chance.choice((4, 6))],
                        443, timeout=30, source_port=port) as connection:
                    act(connection)
            except Exception:
                self._fail(kind, port, connected, traceback.format_exc())
            self.counts[kind.__name__] += 1

    def _fail(self, kind, port, connected, trace):
        now = time.monotonic()
        self.failures.append(
            f"{kind.__name__} from port {port}, {connected - self._began:.1f} "
            f"s after the start, in {now - connected:.3f} s: {trace}"
            f"{told(self._product)}; done before: {dict(self.counts)}")

    def stop(self):
        self._ended.set()
        for thread in self._threads:
            thread.join()


def sample(product):
    """Of supervisor and worker: KiB and descriptors."""
    return [(resident_kib(pid), descriptors(pid))
            for pid in (product.supervisor(), product.worker())]


def status(product):
    return json.loads(product.run("status", "--json", stderr=None).stdout)


def told(product):
    """What may have become of a visitor that was not served."""
    report = status(product)
    counts = {key: report[key] for key in COUNTS}
    for verdict in VERDICTS:
        counts[verdict] = sum(one[verdict] for one in report["interfaces"])
    return (f"{counts}, {processor_seconds(report['worker_pid'])} s of the "
            f"processor for the worker, load {os.getloadavg()[0]:.1f}")


def wait_empty(product):
    wait_until(lambda: status(product)["open_connections"] == 0,
               what="an end of all connections")


def test_soak(network, product, web, send_visitors):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    responder = Responder(network.server)
    product.start("--redirect=steer", "--hello-timeout", str(HELLO_TIMEOUT))
    worker = product.worker()
    idle = descriptors(worker)
    visitors = send_visitors(rate=RATE)
    mischief = Mischief(network, product, seed)
    # What is needed once is there after a quarter of the time.
    time.sleep(SECONDS / 4)
    early = sample(product)
    samples = []
    deadline = time.monotonic() + SECONDS * 3 / 4
    while time.monotonic() < deadline:
        time.sleep(1)
        samples.append(sample(product))
    mischief.stop()
    totals = visitors.finish()
    wait_empty(product)
    late = sample(product)
    print(f"{told(product)}; done: {dict(mischief.counts)}")
    print(f"{totals['visits']} visits, {mischief.counts.total()} others, "
          f"{status(product)['bytes_to_clients'] >> 20} MiB down; KiB and "
          f"descriptors of supervisor and worker: {early} after a quarter, "
          f"{max(one[0] for one in samples)} and "
          f"{max(one[1] for one in samples)} at most, {late} at the end")

    # On a busy machine some have to wait; none may be turned away.
    assert totals["ok"] + totals["stalled"] == totals["visits"], totals
    assert totals["ok"] > totals["visits"] * 0.9, totals
    assert not mischief.failures, "\n".join(mischief.failures[:5])
    assert product.worker() == worker
    assert late[0][0] <= early[0][0] + SUPERVISOR_SPARE_KIB
    # Those who ask for the status are let go of when the next ones come.
    assert late[0][1] <= early[0][1] + STATUS_SERVER_WATCHERS
    assert late[1][0] <= early[1][0] + SPARE_KIB
    assert late[1][1] <= idle + SPARE_DESCRIPTORS
    assert len(product.log_text().splitlines()) < 20
    responder.stop()
    product.stop()
