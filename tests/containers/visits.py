# SPDX-License-Identifier: MIT
"""Visitors of a published port, and what they must not meet."""

from harness import hello
from harness.network import Network
from harness.visitors import LongVisitor


def open_visitors(network, site):
    opened = [LongVisitor(network.client, address, site)
              for address in Network.SERVER.values()]
    for visitor in opened:
        visitor.visit()
    return opened


def assert_challenges_pass(responder, network, site):
    """An acme-tls/1 hello is the container's, too, while nothing runs."""
    challenge = hello.hello(hello.alpn(hello.ACME))
    for address in Network.SERVER_FOR_AUTHORITY.values():
        with network.authority.connect(address, 443) as connection:
            connection.sendall(challenge)
            assert connection.recv(100)[:1] == b"\x15"
    assert responder.idle
