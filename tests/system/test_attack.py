# SPDX-License-Identifier: MIT
"""Strangers who mean harm: others are served, the log stays true and small."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import threading
import time

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import Recorder, accept_visitor
from harness.visitors import LongVisitor
from harness.worker_load import (many_descriptors, processor_seconds,
                                 resident_kib)

SLOW = 10000
FLOOD = 1500
CAP = 100
RESETS = 2000
REFUSED = 600
# Of the worker, see log_limit.h.
LINES_EACH_SECOND = 1000
ACME_HELLO = hello.hello(hello.alpn(hello.ACME))
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [\x20-\x7e]+")


@pytest.fixture(autouse=True)
def enough_descriptors():
    # Two of the program for each slow visitor, one of ours.
    with many_descriptors(2 * SLOW + 4000):
        yield


def status(product):
    return json.loads(product.run("status", "--json", stderr=None).stdout)


def visit(network, web):
    return LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                         web)


def reset(one):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                   struct.pack("ii", 1, 0))
    one.close()


class Crowd:
    """
    Many connections that are begun at once, whether they succeed or not: not
    more of them than a backlog takes without retransmissions, between which
    @breathe is called with how many have begun.
    """

    def __init__(self, network, count, port=443,
                 breathe=lambda begun: time.sleep(0.1)):
        self.sockets = []
        with network.client.entered():
            for number in range(count):
                one = socket.socket()
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect((Network.SERVER[4], port))
                self.sockets.append(one)
                if number % 1000 == 999:
                    breathe(number + 1)

    def send(self, data):
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.send(data)

    def reset(self):
        for one in self.sockets:
            reset(one)
        self.sockets.clear()


def test_slow_visitors_keep_nobody_out(network, product, web):
    """Each sends one byte a second, of a hello that never ends."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # Two each, and an eighth of the room is kept for handshakes.
    slow = min(SLOW, (descriptors - 400) * 7 // 16)
    product.start("--redirect=steer")
    during = visit(network, web)

    def accepted(count):
        wait_until(lambda: status(product)["accepted"] >= count,
                   what="all of them")

    crowd = Crowd(network, slow, breathe=accepted)
    accepted(slow)
    for byte in ACME_HELLO[:8]:
        began = time.monotonic()
        crowd.send(bytes([byte]))
        visit(network, web).close()
        during.visit()
        time.sleep(max(0, 1 - (time.monotonic() - began)))
    wait_until(lambda: status(product)["hello_timeouts"],
               what="an end of patience")
    assert status(product)["open_connections"] > slow
    crowd.reset()
    wait_until(lambda: status(product)["open_connections"] == 1,
               what="an end of the crowd")
    during.close()
    product.stop("--wait")


def test_flood_beyond_the_cap(network, product, web):
    product.start("--redirect=steer", "--max-connections", str(CAP))
    worker = product.worker()
    during = visit(network, web)
    crowd = Crowd(network, FLOOD)
    # What is left is for handshakes that were begun.
    wait_until(lambda: status(product)["open_connections"] >= CAP - CAP // 8,
               what="a full house")
    beyond = LongVisitor(network.client, Network.SERVER[4], web)
    beyond.visit()
    assert not beyond.through_proxy
    beyond.close()
    before = processor_seconds(worker)
    for _ in range(10):
        during.visit()
        assert status(product)["open_connections"] <= CAP
        time.sleep(0.1)
    assert processor_seconds(worker) - before < 0.5
    crowd.reset()
    wait_until(lambda: status(product)["open_connections"] == 1,
               what="an end of the crowd")
    visit(network, web).close()
    during.visit()
    during.close()
    product.stop("--wait")


def test_visitors_that_reset_at_once(network, product, web):
    product.start("--redirect=steer")
    worker = product.worker()
    for sent in (b"", ACME_HELLO[:1], ACME_HELLO[:50], ACME_HELLO):
        crowd = Crowd(network, RESETS // 4)
        crowd.send(sent)
        crowd.reset()
        visit(network, web).close()
    wait_until(lambda: status(product)["open_connections"] == 0,
               what="an end of all")
    assert product.worker() == worker
    assert len(product.log_text().splitlines()) < 20
    product.stop("--wait")


def test_nothing_sent_can_forge_a_line_of_log(network, product, web):
    forged = b"x\n2026-01-01 00:00:00 error: forged\r\n\x1b[2Jx\x07\xff%s%n"
    product.start("--redirect=steer", "-v")
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
    product.start("--redirect=steer")
    for _ in range(3):
        before = status(product)
        crowd = Crowd(network, REFUSED // 3)
        wait_until(lambda: status(product)["accepted"] >=
                   before["accepted"] + REFUSED // 3, what="all of them")
        wanted = before["to_alpn"] + REFUSED // 3
        crowd.send(ACME_HELLO)
        wait_until(lambda: status(product)["to_alpn"] >= wanted, what="all")
        crowd.reset()
    assert status(product)["alpn_unreachable"] >= REFUSED
    product.stop()
    lines = product.log_text().splitlines()
    assert len(lines) < 15, lines
    assert any("31443" in line and "ready" not in line for line in lines)


def test_flood_does_not_fill_a_verbose_log(network, product, web):
    """Each connection is worth a line then, but not all of a flood."""
    product.start("--redirect=steer", "-v")
    worker = product.worker()
    began = time.monotonic()
    wanted = 0
    for _ in range(4):
        crowd = Crowd(network, FLOOD)
        wanted += FLOOD
        wait_until(lambda: status(product)["accepted"] >= wanted, what="all")
        # All ends come at once.
        os.kill(worker, signal.SIGSTOP)
        crowd.send(b"GET")
        crowd.reset()
        os.kill(worker, signal.SIGCONT)
    visit(network, web).close()
    time.sleep(1.1)
    visit(network, web).close()
    seconds = time.monotonic() - began
    product.stop()
    lines = product.log_text().splitlines()
    assert len(lines) < LINES_EACH_SECOND * (seconds + 2)
    left_out = [int(line.split()[2]) for line in lines
                if line.endswith("lines like these left out")]
    told = sum(" connection client=" in line for line in lines)
    assert sum(left_out) + told == wanted + 2
    assert left_out


@contextlib.contextmanager
def hostile_backend(network, port, record):
    """
    On @port: it answers those who send @record with data without end, and they
    do not read.
    """
    listener = network.server.listen("127.0.0.1", port)
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
    yield
    for one in floods:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
    for one in victims:
        one.close()
    listener.close()


def test_hostile_responder(network, product, web):
    product.start("--redirect=steer")
    worker = product.worker()
    with hostile_backend(network, 31443, ACME_HELLO):
        before = processor_seconds(worker)
        for _ in range(5):
            visit(network, web).close()
            time.sleep(0.2)
        assert processor_seconds(worker) - before < 0.5
        assert resident_kib(worker) < 65536
    product.stop("--wait")


def test_hostile_fallback(network, product):
    """Challenges are answered, whatever the web server does."""
    responder = Recorder(network.server, "responder", 31443)
    product.start("--redirect=steer")
    worker = product.worker()

    def challenge():
        with network.client.connect(Network.SERVER[4], 443) as authority:
            authority.sendall(ACME_HELLO)
            assert authority.recv(100) == responder.greeting

    with hostile_backend(network, 443, b"GET / HTTP/1.0\r\n\r\n"):
        before = processor_seconds(worker)
        for _ in range(5):
            challenge()
            time.sleep(0.2)
        assert processor_seconds(worker) - before < 0.5
        assert resident_kib(worker) < 65536
    # One that resets each third; more, and the redirect would step aside.
    with network.server.listen("127.0.0.1", 443) as listener:
        for number in range(150):
            visitor = network.client.connect(Network.SERVER[4], 443)
            visitor.sendall(b"GET")
            connection, _ = accept_visitor(listener)
            if number % 3 == 2:
                reset(connection)
                with pytest.raises(ConnectionResetError):
                    visitor.recv(1)
                challenge()
            else:
                connection.sendall(b"x")
                assert visitor.recv(1) == b"x"
                connection.close()
            visitor.close()
    assert product.worker() == worker
    product.stop("--wait")
    responder.stop()
