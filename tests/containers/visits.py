# SPDX-License-Identifier: MIT
"""Visitors of a published port, and what they must not meet."""

import contextlib
import json

import pytest

from conftest import ENGINES
from harness import hello
from harness.network import Network
from harness.visitors import LongVisitor

all_engines = pytest.mark.parametrize("engine_name", ENGINES)


def report(product):
    return json.loads(product.succeed("status", "--json").stdout)


def open_visitors(network, site, addresses=Network.SERVER.values()):
    opened = [LongVisitor(network.client, address, site)
              for address in addresses]
    for visitor in opened:
        visitor.visit()
    return opened


def assert_challenges_pass(responder, network):
    """An acme-tls/1 hello is the container's, too, while nothing runs."""
    challenge = hello.hello(hello.alpn(hello.ACME))
    for address in Network.SERVER_FOR_AUTHORITY.values():
        with network.authority.connect(address, 443) as connection:
            connection.sendall(challenge)
            assert connection.recv(100)[:1] == b"\x15"
    assert responder.idle


@contextlib.contextmanager
def started(network, product, responder, site, visitors, *options):
    """All of the redirect's life, before the eyes of all kinds of visitors:
    those that stay, and those that are opened meanwhile if they are added."""
    stayed = open_visitors(network, site)
    visitors.wait_for_more(20)
    assert_challenges_pass(responder, network)
    product.start(*options)
    yield stayed
    product.stop()
    assert_challenges_pass(responder, network)
    visitors.wait_for_more(20)
    for visitor in stayed:
        visitor.visit()
        visitor.close()
    visitors.finish_without_failures()
    product.wait_gone()
