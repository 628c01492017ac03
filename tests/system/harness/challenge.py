# SPDX-License-Identifier: MIT
"""A CA's question: does acme-tls/1 reach the responder?"""

from . import hello
from .network import Network

CHALLENGE = hello.hello(hello.alpn(hello.ACME))


def answer_to_challenge(network, address):
    """What an acme-tls/1 hello from outside is answered with; b"" if a CA would
    have given up."""
    try:
        with network.authority.connect(address, 443) as connection:
            connection.sendall(CHALLENGE)
            return connection.recv(100)
    except OSError:
        return b""


def assert_challenges_reach(
        responder, network, addresses=Network.SERVER_FOR_AUTHORITY.values()):
    """An acme-tls/1 hello from outside meets the responder, and only it."""
    for address in addresses:
        with network.authority.connect(address, 443) as connection:
            connection.sendall(CHALLENGE)
            assert connection.recv(100) == responder.greeting
        recording = responder.next()
        assert recording.data == CHALLENGE
