# SPDX-License-Identifier: MIT
"""
Firewalls that nobody foresaw, and web servers that stop: where visitors are not
served, the redirect is paused, and they are served as without it.
"""

import contextlib
import json
import os
import re
import signal
import time

import pytest

from harness import hello
from harness.challenge import assert_challenges_reach
from harness.namespace import add_address, wait_until
from harness.network import Network
from harness.recorder import Recorder
from harness.visitors import LongVisitor
from harness.webserver import WebServer
from test_hosts import ContainerHost

# A second, and what a busy machine adds.
SOON = 30
# The patience of a visitor who is to be served; the others' is shorter, so that
# the next one comes soon.
PATIENCE = 10
IMPATIENCE = 0.5


@pytest.fixture(params=["steer", "iptables"])
def redirect(request):
    """Those that proxy visitors."""
    return request.param


def paused(product):
    """Why, or nothing."""
    report = json.loads(product.run("status", "--json", stderr=None).stdout)
    return report["why"] if report["mode"] == "paused" else ""


def try_to_visit(network, web, timeout=PATIENCE):
    """The visitor's peer, or None."""
    with contextlib.suppress(OSError):
        visitor = LongVisitor(network.client, Network.SERVER[4], web,
                              timeout=timeout)
        try:
            visitor.visit()
            return visitor.peer
        finally:
            visitor.close()
    return None


def wait_for_a_direct_visit(network, web):
    """Visitors come one after the other; most of them may not be hurt."""
    wait_until(lambda: try_to_visit(network, web, IMPATIENCE) == "192.0.2.2",
               SOON, "a visit past the proxy")


def assert_pause_hurts_nobody(network, product, web):
    """On a machine so slow that it ends meanwhile, the next one is longer."""
    def peers_of_one_pause():
        began = product.log_text().count("go past the proxy")
        peers = [try_to_visit(network, web) for _ in range(5)]
        return (paused(product) and peers if began ==
                product.log_text().count("go past the proxy") else None)

    assert wait_until(peers_of_one_pause, 100) == ["192.0.2.2"] * 5


@pytest.fixture
def served(redirect, network, product, web):
    """The redirect is in place, and a visitor came through."""
    product.start("--redirect", redirect)
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    assert paused(product) == ""


def test_firewall_that_drops_what_is_redirected(network, product, web):
    product.start("--iptables")
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    network.server.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport",
                       21443, "-j", "DROP")
    wait_for_a_direct_visit(network, web)
    wait_until(lambda: "never arrive" in paused(product) and
               "redirect: paused" in product.run("status").stdout, SOON)
    assert "never arrive" in product.log_text()
    assert_pause_hurts_nobody(network, product, web)


def test_worker_that_has_no_time(network, product, web, responder):
    """As soon as it has, it is led to again."""
    product.start("--iptables")
    worker = product.worker()
    os.kill(worker, signal.SIGSTOP)
    wait_for_a_direct_visit(network, web)
    wait_until(lambda: "connections wait for us, and none is taken" in
               product.log_text(), SOON)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: paused(product) == "", SOON, "an end of the pause")
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()
    assert_challenges_reach(responder, network)
    assert "firewall" not in product.log_text()


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_port_that_is_led_away(variant, network, product, visitors_tool,
                               tmp_path):
    """By a rule that no interface announces, to where SYNs are dropped that
    were steered: a pause would be over before the rule is."""
    host = ContainerHost(network, visitors_tool, tmp_path, published=False)

    def lead_away(how):
        network.server.run(f"iptables-{variant}", "-t", "nat", how,
                           "PREROUTING", "-p", "tcp", "--dport", 443, "-j",
                           "DNAT", "--to-destination", Network.CONTAINER[4])

    try:
        product.take_iptables(variant, tmp_path)
        product.start("--redirect", "steer")
        wait_until(lambda: try_to_visit(network, host.web, IMPATIENCE) ==
                   Network.BRIDGE[4], SOON, "a visit through the proxy")
        # The container's interfaces have been seen by then.
        time.sleep(1.5)
        lead_away("-A")
        wait_until(lambda: "steering stops" in product.log_text(), SOON)
        for _ in range(5):
            assert try_to_visit(network, host.web) == "192.0.2.2"
        assert paused(product) == ""
        lead_away("-D")
        wait_until(lambda: try_to_visit(network, host.web, IMPATIENCE) ==
                   Network.BRIDGE[4], SOON, "a visit through the proxy")
    finally:
        host.stop()


def test_set_that_fills(served, redirect, network, product, web):
    """It lets in so many connections from loopback, and then no more."""
    network.server.run(
        "nft", "add table inet t; add chain inet t input "
        "{ type filter hook input priority 0; }; add rule inet t input iif lo "
        "tcp dport 443 tcp flags syn / syn,ack limit rate over 1/hour burst 3 "
        "packets drop")
    for _ in range(3):
        assert try_to_visit(network, web)
    wait_for_a_direct_visit(network, web)
    assert "takes no visitors any more" in paused(product)


def test_limit_of_connections_that_resets(served, redirect, network, product,
                                          web):
    network.server.run("iptables", "-A", "INPUT", "-i", "lo", "-p", "tcp",
                       "--dport", 443, "--syn", "-j", "REJECT",
                       "--reject-with", "tcp-reset")
    # The first finds out: nobody counts how many fail.
    wait_for_a_direct_visit(network, web)
    assert "takes no visitors any more" in paused(product)


def test_web_server_that_stops_and_comes_back(served, redirect, network,
                                              product, responder, web,
                                              tmp_path):
    web.stop()
    assert try_to_visit(network, web) is None
    wait_until(lambda: paused(product), SOON, "a pause")
    with contextlib.suppress(ConnectionRefusedError):
        network.client.connect(Network.SERVER[4], 443).close()
        pytest.fail("the port is not as it would be without the proxy")
    again = WebServer(network.server, tmp_path, "again.example.test")
    try:
        wait_until(lambda: paused(product) == "", SOON, "an end of the pause")
        assert_challenges_reach(responder, network)
        LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                      again).close()
    finally:
        again.stop()


def test_no_web_server_at_all(redirect, network, product, responder):
    """Nobody was ever served: challenges are all that there is."""
    product.start("--redirect", redirect)
    for _ in range(10):
        with contextlib.suppress(OSError):
            with network.client.connect(Network.SERVER[4], 443) as visitor:
                visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
                visitor.recv(1)
    time.sleep(1)
    assert paused(product) == ""
    assert_challenges_reach(responder, network)


# As its manual has it, with SYNs that conntrack does not see.
SYNPROXY = (
    "-t raw -A PREROUTING -i client -p tcp --dport 443 --syn -j CT --notrack",
    "-A INPUT -p tcp --dport 443 -m conntrack --ctstate INVALID,UNTRACKED "
    "-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
    "-A INPUT -m conntrack --ctstate INVALID -j DROP")


@pytest.fixture
def synproxy(network, web):
    """With it alone, one visitor in a hundred waits for two seconds."""
    network.server.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    for rule in SYNPROXY:
        network.server.run("iptables", *rule.split())
    assert try_to_visit(network, web) == "192.0.2.2"


def test_firewall_that_answers_syns_steered(network, product, web, synproxy):
    product.start("--redirect", "steer")
    why = wait_until(lambda: try_to_visit(network, web) and paused(product),
                     SOON, "a pause")
    assert "never arrive" in why
    assert_pause_hurts_nobody(network, product, web)


def test_firewall_that_answers_syns_handed_off(network, product, web,
                                               responder, synproxy):
    """The web server's socket has other numbers than the client was told."""
    product.start("--redirect", "handoff")
    for _ in range(5):
        assert try_to_visit(network, web) == "192.0.2.2"
    with network.client.connect(Network.SERVER[4], 443) as challenge:
        challenge.sendall(hello.hello(hello.alpn(hello.ACME)))
        # An alert of TLS.
        assert challenge.recv(1) == b"\x15"
    # More than once, where it came to be sent again.
    assert re.search("[1-9] not taken: socket unfit",
                     product.run("status").stdout)


@pytest.fixture
def limited_web(network):
    """A web server that has 20 connections from one address at a time."""
    network.server.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", 443,
                       "--syn", "-m", "connlimit", "--connlimit-above", 20,
                       "-j", "REJECT", "--reject-with", "tcp-reset")
    made = Recorder(network.server, "web", 443, "0.0.0.0")
    yield made
    made.stop()


def test_limit_of_connections_from_one_address(redirect, network, product,
                                               limited_web):
    """Visitors of several addresses are not taken for one."""
    sources = [f"192.0.2.{number}" for number in (2, 3, 4)]
    for source in sources[1:]:
        add_address(network.client, "server", f"{source}/24")
    product.start("--redirect", redirect)
    with contextlib.ExitStack() as stack:
        for source in sources * 10:
            visitor = stack.enter_context(network.client.socket())
            visitor.settimeout(PATIENCE)
            visitor.bind((source, 0))
            visitor.connect((Network.SERVER[4], 443))
            visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert visitor.recv(100) == limited_web.greeting
        assert paused(product) == ""
        report = json.loads(product.run("status", "--json", stderr=None)
                            .stdout)
        assert report["open_connections"] == 30


def count_served(network, web, count):
    """Of so many visitors at one time."""
    served = 0
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(ConnectionError):
                visitor = stack.enter_context(
                    network.client.connect(Network.SERVER[4], 443))
                visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
                served += visitor.recv(100) == web.greeting
    return served


def test_balancer_in_front_of_all(redirect, network, product, limited_web):
    """All visitors have its address, and are limited with us as without."""
    assert count_served(network, limited_web, 25) == 20
    for _ in range(20):
        limited_web.next()
    product.start("--redirect", redirect)
    assert count_served(network, limited_web, 25) == 20
    network.server.run("iptables", "-F", "INPUT")
    # So many were turned away that it may have stepped aside.
    wait_until(lambda: paused(product) == "", SOON, "an end of the pause")
    assert count_served(network, limited_web, 200) == 200
    assert paused(product) == ""
