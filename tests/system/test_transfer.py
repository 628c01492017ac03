# SPDX-License-Identifier: MIT
"""Bulk data, resets and slow readers."""

import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import accept_visitor
from harness.worker_load import resident_kib

PARALLEL = 200
TRANSFER_SIZE = 1 << 20
CHUNK = 64 << 10
ACME_HELLO = hello.hello(hello.alpn(hello.ACME))
WEB_HELLO = hello.hello(hello.alpn(b"http/1.1"))
HEADER = struct.Struct("!QI")


class Exchange:
    """
    A backend on @port. Reads hello, size and seed; sends a stream of that
    size while it reads the client's; ends with a checksum of what it read.
    """

    def __init__(self, namespace, port, hello_size):
        self._listener = namespace.listen("127.0.0.1", port)
        self._hello_size = hello_size
        self.count = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = accept_visitor(self._listener)
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._exchange, args=(connection,),
                             daemon=True).start()

    def _exchange(self, connection):
        with connection:
            head = receive(connection, self._hello_size + HEADER.size)
            size, seed = HEADER.unpack(head[self._hello_size:])
            sender = threading.Thread(target=send_stream,
                                      args=(connection, size, seed))
            sender.start()
            digest = hashlib.sha256()
            while (chunk := connection.recv(CHUNK)):
                digest.update(chunk)
            sender.join()
            connection.sendall(digest.digest())

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


_noise = os.urandom(TRANSFER_SIZE)


def stream(size, seed):
    """Chunks of random bytes, different ones for each seed."""
    position = seed * 7919 % (TRANSFER_SIZE - CHUNK)
    while size:
        length = min(size, CHUNK)
        yield _noise[position:position + length]
        size -= length
        position = (position + 31337) % (TRANSFER_SIZE - CHUNK)


def send_stream(connection, size, seed):
    for chunk in stream(size, seed):
        connection.sendall(chunk)


def receive(connection, size):
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(size - len(data), CHUNK))
        if not chunk:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += chunk
    return bytes(data)


def checksum(chunks):
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def receive_checksum(connection, size):
    digest = hashlib.sha256()
    while size:
        chunk = connection.recv(min(size, CHUNK))
        if not chunk:
            raise EOFError(f"{size} bytes are missing")
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def exchange(connection, first, seed, upload, download):
    """The client's side of Exchange; fails if any byte is not right."""
    with connection:
        connection.sendall(first + HEADER.pack(download, seed))
        sender = threading.Thread(target=lambda: (
            send_stream(connection, upload, seed + 1),
            connection.shutdown(socket.SHUT_WR)))
        sender.start()
        received = receive_checksum(connection, download)
        confirmed = receive(connection, hashlib.sha256().digest_size)
        assert connection.recv(1) == b""
        sender.join()
    assert received == checksum(stream(download, seed))
    assert confirmed == checksum(stream(upload, seed + 1))


@pytest.fixture
def backends(network):
    made = {ACME_HELLO: Exchange(network.server, 31443, len(ACME_HELLO)),
            WEB_HELLO: Exchange(network.server, 443, len(WEB_HELLO))}
    yield made
    for backend in made.values():
        backend.stop()


def test_200_parallel_transfers(redirect, family, network, product, backends):
    product.start(f"--redirect={redirect}")
    failures = []

    def transfer(number):
        first = (ACME_HELLO, WEB_HELLO)[number % 2]
        # Both ways at once, mainly down, mainly up; some sizes are odd.
        upload, download = ((TRANSFER_SIZE, TRANSFER_SIZE),
                            (0, TRANSFER_SIZE * 2 + number),
                            (TRANSFER_SIZE * 2 + number, 0))[number % 3]
        try:
            exchange(network.client.connect(Network.SERVER[family], 443, 60),
                     first, number, upload, download)
        except Exception as error:
            failures.append(f"{number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=transfer, args=(number,))
               for number in range(PARALLEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [backend.count for backend in backends.values()] == [100, 100]
    product.stop("--wait=60")
    product.wait_gone()


@pytest.fixture
def meet(redirect, family, network, product):
    """Call it for both ends of one connection through the program."""
    listener = network.server.listen("127.0.0.1", 443)
    product.start(f"--redirect={redirect}")
    opened = [listener]

    def connect(first=WEB_HELLO, receive_buffer=None):
        client = network.client.socket(
            socket.AF_INET6 if family == 6 else socket.AF_INET)
        opened.append(client)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                              receive_buffer)
        client.settimeout(20)
        client.connect((Network.SERVER[family], 443))
        client.sendall(first)
        listener.settimeout(20)
        backend, peer = accept_visitor(listener)
        assert peer[0].startswith("127.")
        backend.settimeout(20)
        opened.append(backend)
        assert receive(backend, len(first)) == first
        return client, backend

    yield connect
    for one in opened:
        one.close()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, 0))
    connection.close()


def test_reset_by_the_client_is_passed_on(meet):
    client, backend = meet()
    reset(client)
    with pytest.raises(ConnectionResetError):
        backend.recv(1)


def test_reset_by_the_backend_is_passed_on(meet):
    client, backend = meet()
    reset(backend)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_slow_reader_loses_nothing_and_holds_no_memory(meet, product):
    size = 24 * TRANSFER_SIZE
    client, backend = meet(receive_buffer=4096)
    before = resident_kib(product.worker())
    sent = []

    def send():
        for chunk in stream(size, 3):
            backend.sendall(chunk)
            sent.append(len(chunk))
        backend.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    # The sender comes to a stand when every buffer on the way is full.
    wait_until(lambda: stands_still(sent), what="back-pressure")
    assert sum(sent) < size
    assert resident_kib(product.worker()) - before < 4096
    digest = hashlib.sha256()
    received = 0
    while (chunk := client.recv(CHUNK)):
        digest.update(chunk)
        received += len(chunk)
    sender.join()
    assert received == size
    assert digest.digest() == checksum(stream(size, 3))


def stands_still(sent):
    before = len(sent)
    time.sleep(0.3)
    return before and len(sent) == before
