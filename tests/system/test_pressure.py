# SPDX-License-Identifier: MIT
"""Too many connections, and backends that fail: nothing live is lost."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.visitors import LongVisitor
from harness.worker_load import (assert_at_rest, descriptors,
                                 many_descriptors, processor_seconds,
                                 resident_kib)

DESCRIPTORS = 1024
CONNECTIONS = 100_000
AT_A_TIME = 3000
LIVE = 20
SLOW_READERS = 200
PORT = 21443
FALLBACK_PORT = 9443
RESPONDER_PORT = 31443
ACME_HELLO = hello.hello(hello.alpn(hello.ACME))
CHUNK = 1 << 16
CAP_SYS_RESOURCE = 24
# Who may raise the hard limit does so.
WITHOUT_MORE = ["setpriv", "--bounding-set=-sys_resource",
                "--inh-caps=-sys_resource"]


@pytest.fixture(autouse=True)
def enough_descriptors():
    with many_descriptors():
        yield


class Backend:
    """tests/bench/backend: web server and responder in one."""

    def __init__(self, tools, namespace):
        self._process = namespace.popen(
            tools / "backend", FALLBACK_PORT, RESPONDER_PORT + 1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def stop(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def backend(tools, network):
    made = Backend(tools, network.server)
    yield made
    made.stop()


@pytest.fixture
def load(tools, network):
    """Call it to load the listener, see tests/bench/load.c."""
    def run(*words, **options):
        result = network.server.run(tools / "load", PORT, *words, stderr=None,
                                    **options)
        return json.loads(result.stdout)
    return run


@pytest.fixture
def start(product):
    """Call it for an instance with its listener alone."""
    def run(*words, limit=10 * DESCRIPTORS):
        result = product.namespace.run(
            "prlimit", f"--nofile={limit}", *WITHOUT_MORE, *product.command(
                "start", "--daemon", "--no-redirect", "-fallback",
                f"127.0.0.1:{FALLBACK_PORT}", *words),
            env=product.environment)
        assert result.returncode == 0
        return product.worker()
    return run


@pytest.fixture
def responder(network):
    listener = network.server.listen("127.0.0.1", RESPONDER_PORT)
    listener.settimeout(20)
    yield listener
    listener.close()


def status(product):
    return json.loads(product.run("status", "--json", stderr=None).stdout)


def wait_empty(product):
    wait_until(lambda: status(product)["open_connections"] == 0,
               what="an end of all connections")


class Pair:
    """Both ends of a connection to the responder."""

    def __init__(self, network, responder, receive_buffer=None):
        self.client = network.server.socket()
        if receive_buffer:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   receive_buffer)
        self.client.settimeout(20)
        self.client.connect(("127.0.0.1", PORT))
        self.client.sendall(ACME_HELLO)
        self.server, _ = responder.accept()
        self.server.settimeout(20)
        assert receive(self.server, len(ACME_HELLO)) == ACME_HELLO

    def check(self):
        for one, other in ((self.client, self.server),
                           (self.server, self.client)):
            one.sendall(b"still here")
            assert receive(other, 10) == b"still here"

    def close(self):
        self.client.close()
        self.server.close()


def end(product, pairs):
    for pair in pairs:
        pair.close()
    wait_empty(product)
    product.stop()


def receive(connection, size):
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        assert chunk, f"the end after {len(data)} of {size} bytes"
        data += chunk
    return bytes(data)


def test_100000_connections_through_1024_descriptors(network, product, backend,
                                                     load, start, responder):
    worker = start(limit=DESCRIPTORS)
    live = [Pair(network, responder) for _ in range(LIVE)]
    completed = 0
    while completed < CONNECTIONS:
        result = load("visits", AT_A_TIME, 4000)
        assert result["failed"] == 0
        completed += result["completed"]
        for pair in live:
            pair.check()
        assert descriptors(worker) <= DESCRIPTORS
    report = status(product)
    assert report["accepted"] == completed + LIVE
    assert report["accept_pauses"] > 0
    assert report["resets"] == report["fallback_unreachable"] == 0
    end(product, live)


def test_rests_while_descriptors_are_wanting(network, product, backend, load,
                                             start, responder):
    worker = start("--hello-timeout", "60", limit=DESCRIPTORS)
    live = [Pair(network, responder) for _ in range(LIVE)]
    silent = [network.server.connect("127.0.0.1", PORT)
              for _ in range(DESCRIPTORS)]
    wait_until(lambda: status(product)["accept_pauses"], what="a full house")
    report = status(product)
    assert_at_rest(worker, 2)
    assert status(product) == report
    for pair in live:
        pair.check()
    for one in silent:
        one.close()
    assert load("visits", 50, 300)["failed"] == 0
    end(product, live)


def visitors_that_stay(network, web, count):
    """TLS connections that are kept alive; the peers that were seen."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            visitor = LongVisitor(network.client, Network.SERVER[4], web)
            stack.callback(visitor.close)
            visitor.visit()
            peers.append(visitor.peer)
        return peers


def test_steering_lets_pass_who_finds_no_room(network, product, web):
    result = product.namespace.run(
        "prlimit", "--nofile=600", *WITHOUT_MORE,
        *product.command("start", "--daemon", "--redirect", "steer"),
        env=product.environment)
    assert result.returncode == 0
    peers = visitors_that_stay(network, web, 400)
    # Each takes two descriptors; some of the room is for handshakes.
    assert 100 < peers.count(Network.CLIENT[4]) < 300
    wait_empty(product)
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()


def may_raise_limits():
    status = Path("/proc/self/status").read_text()
    effective = int(re.search(r"^CapEff:\s*(\w+)$", status, re.M)[1], 16)
    return effective & 1 << CAP_SYS_RESOURCE


@pytest.mark.skipif(not may_raise_limits(), reason="needs CAP_SYS_RESOURCE")
def test_the_hard_limit_of_descriptors_is_raised(network, product, web):
    result = product.namespace.run(
        "prlimit", "--nofile=600", *product.command(
            "start", "--daemon", "--redirect", "iptables"),
        env=product.environment)
    assert result.returncode == 0
    peers = visitors_that_stay(network, web, 400)
    assert all(peer.startswith("127.") for peer in peers)


def test_backend_that_is_slow(network, product, backend, load, start,
                              responder):
    """Its visitors wait in the kernel, and nobody else waits for them."""
    worker = start()
    pairs = [Pair(network, responder) for _ in range(LIVE)]
    for pair in pairs:
        pair.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                pair.client.send(bytes(CHUNK))
    before = processor_seconds(worker)
    for _ in range(10):
        for pair in pairs:
            assert pair.server.recv(100)
        time.sleep(0.1)
    assert processor_seconds(worker) - before < 0.3
    result = load("visits", 10, 500)
    assert result["failed"] == 0 and result["completed"] > 50
    end(product, pairs)


def test_backend_that_dies_in_the_middle(network, product, backend, load,
                                         start, tools):
    worker = start()
    before = descriptors(worker)
    streams = network.server.popen(tools / "load", PORT, "down", 8, 10**12,
                                   stdout=subprocess.PIPE)
    wait_until(lambda: status(product)["bytes_to_clients"] > 10**7,
               what="a transfer")
    backend.stop()
    output, _ = streams.communicate(timeout=60)
    assert json.loads(output)["failed"] == 8
    wait_empty(product)
    # Nobody listens: a visitor is told at once.
    began = time.monotonic()
    result = load("visits", 1, 100)
    assert result["completed"] == 0 and result["failed"] > 0
    assert time.monotonic() - began < 2
    assert status(product)["fallback_unreachable"] == result["failed"]
    again = Backend(tools, network.server)
    assert load("visits", 10, 300)["failed"] == 0
    again.stop()
    wait_empty(product)
    # A few idle pipes are kept.
    assert descriptors(worker) <= before + 16
    product.stop()


def test_backend_whose_backlog_is_full(network, product, start):
    """Visitors wait, at no cost, until it takes them."""
    listener = network.server.listen("127.0.0.1", FALLBACK_PORT, backlog=2)
    worker = start()
    request = b"GET / HTTP/1.0\r\n\r\n"
    visitors = [network.server.connect("127.0.0.1", PORT, timeout=30)
                for _ in range(LIVE)]
    for visitor in visitors:
        visitor.sendall(request)
    wait_until(lambda: status(product)["to_fallback"] == LIVE, what="all")
    assert_at_rest(worker)

    def answer():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    assert receive(connection, len(request)) == request
                    connection.sendall(b"welcome")

    server = threading.Thread(target=answer)
    server.start()
    for visitor in visitors:
        assert receive(visitor, 7) == b"welcome"
        visitor.close()
    listener.shutdown(socket.SHUT_RDWR)
    server.join()
    listener.close()
    assert status(product)["fallback_unreachable"] == 0
    product.stop()


def test_many_slow_readers_hold_little_memory(network, product, start,
                                              responder):
    """Beyond the sockets' buffers, one read of each at most."""
    worker = start()
    Pair(network, responder).close()
    wait_empty(product)
    before = resident_kib(worker)
    pairs = [Pair(network, responder, receive_buffer=4096)
             for _ in range(SLOW_READERS)]
    for pair in pairs:
        pair.server.setblocking(False)
    sent = 1
    while sent:
        sent = 0
        for pair in pairs:
            with contextlib.suppress(BlockingIOError):
                sent += pair.server.send(bytes(CHUNK))
    assert resident_kib(worker) - before < SLOW_READERS * 20
    assert_at_rest(worker)
    end(product, pairs)
