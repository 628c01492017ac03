# SPDX-License-Identifier: MIT
"""A CA's question: does acme-tls/1 reach the responder?"""

from . import hello
from .network import Network


def assert_challenges_reach(
        responder, network, addresses=Network.SERVER_FOR_AUTHORITY.values()):
    """An acme-tls/1 hello from outside meets the responder, and only it."""
    challenge = hello.hello(hello.alpn(hello.ACME))
    for address in addresses:
        with network.authority.connect(address, 443) as connection:
            connection.sendall(challenge)
            assert connection.recv(100) == responder.greeting
        recording = responder.next()
        assert recording.data == challenge
