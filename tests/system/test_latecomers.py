# SPDX-License-Identifier: MIT
"""Visitors whose handshake takes longer than the grace of a stop."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.visitors import LongVisitor

# The kernel gives a handshake up after a minute.
PATIENCE = 60


@contextlib.contextmanager
def nothing_but_syns(network):
    """What else the client sends to the web server is lost."""
    network.client.run(
        "nft", "add table inet t; add chain inet t output "
        "{ type filter hook output priority 0; }; add rule inet t output "
        "tcp dport 443 tcp flags & syn == 0 drop")
    try:
        yield
    finally:
        network.client.run("nft", "delete table inet t")


def under_way(network):
    return network.server.run("ss", "-Htn", "state",
                              "syn-recv").stdout.splitlines()


@contextlib.contextmanager
def latecomers(network, web):
    """What LongVisitor() will have made, for both families, whose handshakes
    have begun."""
    before = len(under_way(network))
    with ThreadPoolExecutor(2) as pool, nothing_but_syns(network):
        made = [pool.submit(LongVisitor, network.client, address, web,
                            timeout=PATIENCE)
                for address in Network.SERVER.values()]
        wait_until(lambda: len(under_way(network)) == before + 2, 30,
                   "two handshakes under way")
        yield made


def test_are_served(redirect, network, product, web, clean):
    product.start(f"--redirect={redirect}")
    with latecomers(network, web) as visitors:
        # Nobody else waits for them.
        product.stop()
        assert not product.pidfile.exists()
        assert product.listening()
        assert "listening on until they end" in product.log_text()
    for visitor in (future.result(PATIENCE) for future in visitors):
        visitor.visit()
        assert visitor.through_proxy
        visitor.close()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_who_stops_may_wait_for_them(redirect, network, product, web, clean):
    product.start(f"--redirect={redirect}")
    with latecomers(network, web) as visitors:
        stop = product.popen("stop", "--wait")
        wait_until(lambda: not product.pidfile.exists(), what="end of redirect")
    for visitor in (future.result(PATIENCE) for future in visitors):
        assert stop.poll() is None
        visitor.visit()
        visitor.close()
    assert stop.wait(20) == 0
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_of_the_web_server_are_its_own(redirect, network, product, web, clean):
    with latecomers(network, web) as visitors:
        product.start(f"--redirect={redirect}")
        product.stop()
        assert not product.listening()
        product.wait_gone()
        assert len(under_way(network)) == 2
    for visitor in (future.result(PATIENCE) for future in visitors):
        visitor.visit()
        assert not visitor.through_proxy
        visitor.close()
    assert residue.snapshot(network.server) == clean


def test_who_never_answers_is_given_up(redirect, network, product, web, clean):
    """As the kernel does: 1 + 2 + 4 seconds after the first."""
    network.server.sysctl("net.ipv4.tcp_synack_retries", 2)
    product.start(f"--redirect={redirect}")
    with nothing_but_syns(network), contextlib.ExitStack() as scanners:
        for address in Network.SERVER.values():
            scanners.enter_context(network.client.connect(address, 443))
        product.stop("--wait")
        assert not under_way(network)
        product.wait_gone()
    network.server.sysctl("net.ipv4.tcp_synack_retries", 5)
    assert residue.snapshot(network.server) == clean


# As the next start does, and ends when it is answered.
ASK = """
import socket
asking = socket.socket(socket.AF_UNIX)
asking.connect("\\0acme-alpn-proxy latecomers 21443")
asking.recv(1)
"""


def test_strangers_decide_nothing(network, product, web, clean):
    """Neither who has not come yet, nor other users of the host."""
    product.start("--redirect=steer")
    with nothing_but_syns(network), \
            network.client.connect(Network.SERVER[4], 443):
        product.stop("--wait=3")
        assert product.listening()
        for user in (65534, 0):
            network.server.run("setpriv", f"--reuid={user}", "--clear-groups",
                               "/usr/bin/python3", "-c", ASK)
            assert bool(product.listening()) == (user != 0)
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("redirect, then", [
    ("steer", "iptables"), ("iptables", "steer"), ("iptables", "handoff")])
def test_give_way_to_the_next_start(redirect, then, network, product, web,
                                    clean):
    product.start(f"--redirect={redirect}")
    with nothing_but_syns(network), \
            network.client.connect(Network.SERVER[4], 443):
        product.stop()
        first = product.pids()
        assert first and product.listening()
        # To check changes nothing.
        found = product.run("check", "--json", f"--redirect={then}",
                            Network.SERVER[4])
        (redirected,) = [finding for finding
                         in json.loads(found.stdout)["findings"]
                         if finding["topic"] == "redirect"]
        assert redirected["verdict"] == "well", redirected
        product.start(f"--redirect={then}")
        wait_until(lambda: not set(first) & set(product.pids()), 30,
                   "end of the first")
        report = json.loads(product.succeed("status", "--json").stdout)
        assert (report["mode"], report["listen"]) == (then, 21443)
    product.stop("--wait")
    product.wait_gone()
    assert residue.snapshot(network.server) == clean
