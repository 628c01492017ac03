# SPDX-License-Identifier: MIT
"""Every ClientHello to its backend, every byte with it."""

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from harness import hello
from harness.network import Network
from harness.product import Product
from harness.recorder import Recorder

HELLO_TIMEOUT = 1.5
ACME_HELLO = hello.hello(hello.alpn(hello.ACME))
WEB_HELLO = hello.hello(hello.alpn(b"h2", b"http/1.1"))
# What follows the hello, sent once the backend has greeted.
TRAILER = hello.noise(3000, b"trailer")


@dataclass
class Case:
    """Bytes in the pieces in which they are sent, one TCP segment each."""
    pieces: list
    # The client ends its direction without waiting for a greeting.
    close_at_once: bool = False

    @property
    def data(self):
        return b"".join(self.pieces)


def whole(data):
    return Case([data])


def split(data, *positions):
    edges = [0, *positions, len(data)]
    return Case([data[a:b] for a, b in zip(edges, edges[1:])])


def byte_by_byte(data):
    return split(data, *range(1, len(data)))


def acme_message(*more):
    return hello.message(hello.body(
        [hello.server_name(), *hello.common_extensions(),
         hello.alpn(hello.ACME), *more]))


def padding(size):
    return hello.extension(hello.PADDING, bytes(size))


def grease(number=0):
    """RFC 8701; browsers send an empty one first and another one last."""
    return hello.extension(hello.GREASE[number], bytes(number))


TO_RESPONDER = {
    "whole": whole(ACME_HELLO),
    "byte-by-byte": byte_by_byte(ACME_HELLO),
    "two-segments": split(ACME_HELLO, len(ACME_HELLO) // 2),
    "split-in-record-header": split(ACME_HELLO, 3),
    "split-in-handshake-header": split(ACME_HELLO, 7),
    "two-records": whole(hello.records(acme_message(), 100)),
    "records-of-one-byte": whole(hello.records(acme_message(),
                                               *[1] * 150)),
    "two-records-two-segments": split(hello.records(acme_message(), 60), 65),
    "4-kilobytes": whole(hello.record(acme_message(padding(4500)))),
    "15-kilobytes-in-pieces": split(
        hello.record(acme_message(padding(15000))), 1000, 5000, 14000),
    "alpn-last": whole(hello.hello(padding(300), hello.alpn(hello.ACME))),
    "alpn-first": whole(hello.record(hello.message(hello.body(
        [hello.alpn(hello.ACME), hello.server_name(),
         *hello.common_extensions()])))),
    "among-several-protocols": whole(hello.hello(
        hello.alpn(b"h2", b"http/1.1", hello.ACME, b"h3"))),
    "grease": whole(hello.record(hello.message(hello.body(
        [grease(), hello.server_name(), *hello.common_extensions(),
         hello.alpn(b"\x2a\x2a", hello.ACME), grease(1)],
        suites=bytes.fromhex("2a2a130113021303"))))),
    "post-quantum": whole(hello.record(hello.message(hello.body(
        [grease(), hello.server_name(),
         *hello.common_extensions(hello.X25519MLKEM768, 1216),
         hello.alpn(hello.ACME), padding(200), grease(1)])))),
    "post-quantum-two-segments": split(hello.record(hello.message(hello.body(
        [hello.server_name(),
         *hello.common_extensions(hello.X25519MLKEM768, 1216),
         hello.alpn(hello.ACME), padding(200)]))), 1400),
    "no-session-id": whole(hello.record(hello.message(hello.body(
        [hello.alpn(hello.ACME)], session_id=b"")))),
    "more-data-behind": whole(ACME_HELLO + hello.noise(5000)),
}

_body = hello.body([hello.server_name(), *hello.common_extensions()])
_lying_alpn = hello.extension(
    hello.ALPN, hello.number(200, 2) + hello.vector(hello.ACME, 1))

TO_FALLBACK = {
    "web-hello": whole(WEB_HELLO),
    "web-hello-byte-by-byte": byte_by_byte(WEB_HELLO),
    "hello-without-alpn": whole(hello.hello()),
    "hello-without-extensions": whole(hello.record(hello.message(
        hello.number(0x0303, 2) + hello.noise(32) + b"\0" +
        hello.vector(bytes.fromhex("1301"), 2) + hello.vector(b"\0", 1)))),
    "longer-protocol-name": whole(hello.hello(hello.alpn(hello.ACME + b"0"))),
    "shorter-protocol-name": whole(hello.hello(hello.alpn(hello.ACME[:-1]))),
    "other-case": whole(hello.hello(hello.alpn(hello.ACME.upper()))),
    "name-elsewhere": whole(hello.hello(
        hello.server_name(hello.ACME), hello.extension(
            hello.GREASE[0], hello.vector(hello.ACME, 1)))),
    "plain-http": whole(b"GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n"),
    "http-byte-by-byte": byte_by_byte(b"GET / HTTP/1.0\r\n\r\n"),
    "ssh-banner": whole(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "tls-alert": whole(hello.record(b"\x02\x28", kind=0x15)),
    "server-hello": whole(hello.record(hello.message(_body, kind=2))),
    "16-kilobytes-of-garbage": whole(hello.noise(16384)),
    "garbage-behind-a-record-header": whole(
        hello.record(hello.noise(16384))),
    "garbage-behind-a-hello-header": whole(
        hello.record(hello.message(hello.noise(16000)))),
    "64-kilobytes-of-garbage": whole(b"\x16\x03\x01" +
                                     hello.noise(65533)),
    "record-length-zero": whole(hello.record(b"") + ACME_HELLO),
    "record-length-too-long": whole(
        hello.record(hello.message(_body), length=65535)),
    "hello-longer-than-16-kilobytes": whole(hello.records(
        acme_message(padding(17000)), hello.MAX_RECORD)),
    "message-shorter-than-its-body": whole(hello.record(
        hello.message(_body, length=40))),
    "session-id-longer-than-allowed": whole(hello.record(hello.message(
        hello.body([hello.alpn(hello.ACME)], session_id=hello.noise(33))))),
    "extension-past-the-end": whole(hello.record(hello.message(
        hello.body([hello.number(hello.ALPN, 2) + hello.number(900, 2)])))),
    "alpn-list-past-its-extension": whole(hello.hello(_lying_alpn)),
    "alpn-of-another-length": whole(hello.hello(hello.extension(
        hello.ALPN, hello.vector(hello.vector(hello.ACME, 1) + b"\xff", 2)))),
    "garbage-behind-the-extensions": whole(hello.record(hello.message(
        _body + b"\0"))),
    "truncated-hello-then-close": Case([ACME_HELLO[:-1]], close_at_once=True),
    "half-a-record-header-then-close": Case([b"\x16\x03"],
                                            close_at_once=True),
    "one-byte-then-close": Case([b"\x16"], close_at_once=True),
    "silence-then-close": Case([], close_at_once=True),
    "whole-web-hello-then-close": Case([WEB_HELLO], close_at_once=True),
}

# These wait for the hello timeout, all at once.
SILENT = {
    "silence": Case([]),
    "one-byte": Case([b"\x16"]),
    "one-letter": Case([b"G"]),
    "truncated-hello": Case([ACME_HELLO[:-1]]),
    "record-that-never-ends": Case([hello.record(hello.message(_body),
                                                 length=16000)]),
    "hello-that-never-ends": Case([hello.record(hello.message(
        _body, length=16000))]),
}


class Stage:
    """Client, program and the two backends behind it."""

    def __init__(self, network, program, directory, redirect):
        self._network = network
        self.responder = Recorder(network.server, "responder", 31443)
        self.fallback = Recorder(network.server, "fallback", 443)
        self.product = Product(program, network.server, directory)
        self.product.start(f"--redirect={redirect}", "--hello-timeout",
                           HELLO_TIMEOUT)

    def open(self, family, case):
        """Connect and send the case's bytes; returns the connection."""
        connection = self._network.client.connect(Network.SERVER[family], 443)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in case.pieces:
            connection.sendall(piece)
            if len(case.pieces) > 1:
                time.sleep(0.0005)
        return connection

    @staticmethod
    def finish(connection, case, backend):
        """The greeting is the backend's; so is every byte, and the end."""
        sent = case.data
        with connection:
            if case.close_at_once:
                connection.shutdown(socket.SHUT_WR)
            greeting = connection.recv(100)
            assert greeting == backend.greeting
            if not case.close_at_once:
                connection.sendall(TRAILER)
                connection.shutdown(socket.SHUT_WR)
                sent += TRAILER
            assert connection.recv(100) == b""
        recording = backend.next()
        assert recording.data == sent
        assert recording.ended_by == "end"
        assert recording.peer.startswith("127.")

    def close(self):
        self.product.kill_all()
        self.responder.stop()
        self.fallback.stop()


@contextmanager
def make_stage(program, directory, redirect):
    network = Network()
    try:
        stage = Stage(network, program, directory, redirect)
        try:
            yield stage
        finally:
            stage.close()
    finally:
        network.remove()


@pytest.fixture(scope="module", params=["steer", "iptables"])
def stage(request, program, tmp_path_factory):
    directory = tmp_path_factory.mktemp("hello")
    with make_stage(program, directory, request.param) as made:
        yield made


@pytest.mark.parametrize("name", TO_RESPONDER)
def test_acme_hello_goes_to_the_responder(stage, family, name):
    case = TO_RESPONDER[name]
    stage.finish(stage.open(family, case), case, stage.responder)
    assert stage.fallback.idle


@pytest.mark.parametrize("name", TO_FALLBACK)
def test_anything_else_goes_to_the_fallback(stage, family, name):
    case = TO_FALLBACK[name]
    stage.finish(stage.open(family, case), case, stage.fallback)
    assert stage.responder.idle


def test_silence_goes_to_the_fallback(stage, family):
    began = time.monotonic()
    connections = [stage.open(family, case) for case in SILENT.values()]
    for connection, case in zip(connections, SILENT.values()):
        stage.finish(connection, case, stage.fallback)
    assert time.monotonic() - began >= HELLO_TIMEOUT
    assert stage.responder.idle


def test_begun_hello_has_three_times_as_long(stage, family):
    connection = stage.open(family, Case([ACME_HELLO[:60]]))
    time.sleep(2 * HELLO_TIMEOUT)
    connection.sendall(ACME_HELLO[60:])
    stage.finish(connection, whole(ACME_HELLO), stage.responder)
    assert stage.fallback.idle


def test_hello_that_trickles_past_the_timeout_goes_to_the_fallback(
        stage, family):
    connection = stage.open(family, Case([ACME_HELLO[:5]]))
    sent = 5
    connection.setblocking(False)
    while True:
        connection.send(ACME_HELLO[sent:sent + 1])
        sent += 1
        time.sleep(HELLO_TIMEOUT / 30)
        try:
            greeting = connection.recv(100)
            break
        except BlockingIOError:
            assert sent < len(ACME_HELLO)
    connection.close()
    assert greeting == stage.fallback.greeting
    recording = stage.fallback.next()
    assert recording.data == ACME_HELLO[:sent]
