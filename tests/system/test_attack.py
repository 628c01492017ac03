# SPDX-License-Identifier: MIT
"""Strangers who mean harm: others are served, the log stays true and small."""

import contextlib
import json
import re
import socket
import struct
import threading
import time

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.visitors import LongVisitor
from harness.worker_load import (many_descriptors, processor_seconds,
                                 resident_kib)

SLOW = 3000
FLOOD = 1500
CAP = 100
RESETS = 2000
REFUSED = 600
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [\x20-\x7e]+")


@pytest.fixture(autouse=True)
def enough_descriptors():
    with many_descriptors():
        yield


def status(product):
    return json.loads(product.run("status", "--json", stderr=None).stdout)


def visit(network, web):
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    assert visitor.through_proxy
    return visitor


class Crowd:
    """Many connections that are begun at once, whether they succeed or not."""

    def __init__(self, network, count, port=443):
        self.sockets = []
        with network.client.entered():
            for _ in range(count):
                one = socket.socket()
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect((Network.SERVER[4], port))
                self.sockets.append(one)

    def send(self, data):
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.send(data)

    def reset(self):
        for one in self.sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
            one.close()
        self.sockets.clear()


def test_slow_visitors_keep_nobody_out(network, product, web):
    """A byte now and then, of a hello that never ends."""
    product.start("--bpf")
    during = visit(network, web)
    crowd = Crowd(network, SLOW)
    wait_until(lambda: status(product)["accepted"] >= SLOW, 30, "all of them")
    for byte in hello.hello(hello.alpn(hello.ACME))[:6]:
        crowd.send(bytes([byte]))
        began = time.monotonic()
        visit(network, web).close()
        during.visit()
        assert time.monotonic() - began < 5
        time.sleep(0.7)
    assert status(product)["hello_timeouts"] > 0
    crowd.reset()
    wait_until(lambda: status(product)["open_connections"] == 1, 20,
               "an end of the crowd")
    during.close()
    product.stop("--wait")


def test_flood_beyond_the_cap(network, product, web):
    product.start("--bpf", "--max-connections", str(CAP))
    worker = product.worker()
    during = visit(network, web)
    crowd = Crowd(network, FLOOD)
    wait_until(lambda: status(product)["accept_pauses"] > 0, 20, "a full house")
    before = processor_seconds(worker)
    for _ in range(10):
        during.visit()
        assert status(product)["open_connections"] <= CAP
        time.sleep(0.1)
    assert processor_seconds(worker) - before < 0.5
    crowd.reset()
    visit(network, web).close()
    during.visit()
    during.close()
    product.stop("--wait")


def test_visitors_that_reset_at_once(network, product, web):
    product.start("--bpf")
    worker = product.worker()
    record = hello.hello(hello.alpn(hello.ACME))
    for sent in (b"", record[:1], record[:50], record):
        crowd = Crowd(network, RESETS // 4)
        crowd.send(sent)
        crowd.reset()
        visit(network, web).close()
    wait_until(lambda: status(product)["open_connections"] == 0, 20,
               "an end of all")
    assert product.worker() == worker
    assert len(product.log_text().splitlines()) < 20
    product.stop("--wait")


def test_nothing_sent_can_forge_a_line_of_log(network, product, web):
    forged = b"x\n2026-01-01 00:00:00 error: forged\r\n\x1b[2Jx\x07\xff%s%n"
    product.start("--bpf", "-v")
    for text in (
            hello.record(hello.message(hello.body(
                [hello.server_name(forged), *hello.common_extensions(),
                 hello.alpn(hello.ACME)]))),
            hello.record(hello.message(hello.body(
                [hello.server_name(forged), hello.alpn(forged)]))),
            b"GET /" + forged + b" HTTP/1.0\r\n\r\n", forged):
        with network.client.connect(Network.SERVER[4], 443) as visitor:
            visitor.sendall(text)
            with contextlib.suppress(OSError):
                visitor.recv(100)
    wait_until(lambda: product.log_text().count(" connection client=") == 4,
               what="four lines of log")
    lines = product.log_text().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert LINE.fullmatch(line), line
        assert "error:" not in line[:30], line
    product.stop()


def test_refused_challenges_do_not_fill_the_log(network, product, web):
    """No responder listens; a stranger asks for it all the time."""
    product.start("--bpf")
    record = hello.hello(hello.alpn(hello.ACME))
    for _ in range(3):
        crowd = Crowd(network, REFUSED // 3)
        wanted = status(product)["to_alpn"] + REFUSED // 3
        time.sleep(0.2)
        crowd.send(record)
        wait_until(lambda: status(product)["to_alpn"] >= wanted, 20, "all")
        crowd.reset()
    assert status(product)["alpn_unreachable"] >= REFUSED
    product.stop()
    lines = product.log_text().splitlines()
    assert len(lines) < 15, lines
    assert any("31443" in line and "ready" not in line for line in lines)


def test_hostile_responder(network, product, web):
    """It answers with data without end to one who does not read."""
    listener = network.server.listen("127.0.0.1", 31443)
    product.start("--bpf")
    worker = product.worker()
    record = hello.hello(hello.alpn(hello.ACME))
    victims, floods = [], []

    def flood(connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 20))

    for _ in range(20):
        victims.append(network.client.connect(Network.SERVER[4], 443))
        victims[-1].sendall(record)
        connection, _ = listener.accept()
        floods.append(connection)
        threading.Thread(target=flood, args=(connection,),
                         daemon=True).start()
    time.sleep(1)
    before = processor_seconds(worker)
    for _ in range(5):
        visit(network, web).close()
        time.sleep(0.2)
    assert processor_seconds(worker) - before < 0.5
    assert resident_kib(worker) < 65536
    for one in floods:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
    for one in victims:
        one.close()
    listener.close()
    product.stop("--wait")
