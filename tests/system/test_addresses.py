# SPDX-License-Identifier: MIT
"""Several web servers, each with the port at an address of its own."""

import json

import pytest

from harness.challenge import assert_challenges_reach
from harness.network import Network
from harness.recorder import Recorder

OUTER = (*Network.SERVER.values(), *Network.SERVER_FOR_AUTHORITY.values())


@pytest.fixture
def outer_sites(network):
    """By their address."""
    made = {address: Recorder(network.server, f"site {address}", 443, address)
            for address in OUTER}
    yield made
    for site in made.values():
        site.stop()


@pytest.fixture
def sites(network, outer_sites):
    """One that is for this host alone is among them."""
    inner = Recorder(network.server, "inner site", 443)
    yield {**outer_sites, "127.0.0.1": inner}
    inner.stop()


def visit(network, address):
    with network.client.connect(address, 443) as visitor:
        visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return visitor.recv(100)


def test_each_visitor_meets_the_one_it_came_to(redirect, network, product,
                                               responder, sites):
    product.start(f"--redirect={redirect}")
    for address in OUTER:
        assert visit(network, address) == sites[address].greeting
        # As on loopback, a source of the visitor's own.
        if ":" not in address:
            peer = sites[address].next().peer
            assert peer.startswith("127.") and peer != "127.0.0.1"
    assert_challenges_reach(responder, network)
    report = json.loads(product.succeed("status", "--json").stdout)
    assert (report["accepted"], report["to_fallback"]) == (6, 4)


def test_nobody_at_the_address(redirect, network, product, responder, sites):
    """That is no failure of the fallback, which takes who came there."""
    network.server.run("ip", "address", "add", "192.0.2.77/24", "dev",
                       "client")
    product.start(f"--redirect={redirect}")
    for _ in range(12):
        assert visit(network, "192.0.2.77") == sites["127.0.0.1"].greeting
    report = json.loads(product.succeed("status", "--json").stdout)
    assert report["fallback_unreachable"] == 0
    assert "paused" not in product.log_text()
    assert_challenges_reach(responder, network)


def test_all_meet_the_one_that_is_named(redirect, network, product, sites):
    product.start(f"--redirect={redirect}", "-fallback", "127.0.0.1:443")
    for address in OUTER:
        assert visit(network, address) == sites["127.0.0.1"].greeting


def test_which_one_to_name_is_not_guessed(redirect, product, outer_sites):
    result = product.run("start", "--daemon", f"--redirect={redirect}")
    assert result.returncode == 1
    assert "by a listener (" in result.stdout
    assert "name that with -fallback; else use --redirect handoff" \
        in result.stdout
