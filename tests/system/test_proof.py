# SPDX-License-Identifier: MIT
"""
Before a redirect that proxies visitors is in place, it is proved that they can
be served: else start fails, and says who serves the port and what would do.
"""

import contextlib
import os
import socket
import threading

import pytest

from harness import residue
from harness.challenge import assert_challenges_reach
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import PROOF_SOURCE
from harness.visitors import LongVisitor
from harness.webserver import WebServer

SO_BINDTODEVICE = 25


@pytest.fixture(params=["steer", "iptables"])
def redirect(request):
    """Those that proxy visitors."""
    return request.param


def assert_refused(product, *options, says=()):
    before = residue.snapshot(product.namespace)
    result = product.run("start", "--daemon", *options)
    assert result.returncode == 1, result.stdout
    (line,) = [line for line in result.stdout.splitlines()
               if "ours goes before it" not in line]
    for words in says:
        assert words in line
    assert not product.pids() and not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == before


def assert_visit(network, web, address=Network.SERVER[4]):
    visitor = LongVisitor(network.client, address, web)
    visitor.visit()
    visitor.close()


@pytest.fixture
def web_on_8443(network, tmp_path):
    made = WebServer(network.server, tmp_path, port=8443,
                     listen=("0.0.0.0:8443", "[::]:8443"))
    yield made
    made.stop()


def redirect_by_iptables(network):
    network.server.run("iptables", "-t", "nat", "-A", "PREROUTING", "-p",
                       "tcp", "--dport", 443, "-j", "REDIRECT", "--to-ports",
                       8443)


def redirect_by_nft(network):
    """Behind the rule of ours, were it in place."""
    network.server.run(
        "nft", "add table ip web; add chain ip web prerouting "
        "{ type nat hook prerouting priority dstnat + 10; }; "
        "add rule ip web prerouting tcp dport 443 redirect to :8443")


@pytest.mark.parametrize("rule", [redirect_by_iptables, redirect_by_nft])
def test_steering_before_a_redirect(rule, network, product, web_on_8443):
    """Whatever the fallback is."""
    rule(network)
    for options in ([], ["-fallback", "127.0.0.1:8443"]):
        assert_refused(product, "--redirect", "steer", *options,
                       says=["NAT rule", "use --bpf"])
        assert_visit(network, web_on_8443)


def test_web_server_behind_a_redirect(network, product, web_on_8443):
    redirect_by_nft(network)
    assert_visit(network, web_on_8443)
    assert_refused(product, "--iptables",
                   says=["NAT rule", "use -fallback 127.0.0.1:8443"])
    assert_visit(network, web_on_8443)
    product.start("--iptables", "-fallback", "127.0.0.1:8443")
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web_on_8443).close()


DNAT_BY_IPTABLES = (
    "iptables -t nat -A PREROUTING -p tcp --dport 443 -j DNAT "
    "--to-destination 172.17.0.2:443")
DNAT_BY_NFT = (
    "add table ip web; add chain ip web prerouting { type nat hook "
    "prerouting priority dstnat; }; add rule ip web prerouting tcp dport 443 "
    "dnat to 172.17.0.2")


@pytest.fixture
def guest(network, tmp_path):
    """As a virtual machine or a container without a forwarder has it."""
    made = WebServer(network.add_container(), tmp_path,
                     "guest.example.test")
    yield made
    made.stop()


@pytest.mark.parametrize("rule", [DNAT_BY_IPTABLES.split(),
                                  ["nft", DNAT_BY_NFT]],
                         ids=["iptables", "nft"])
def test_steering_before_a_guest(rule, network, product, guest):
    network.server.run(*rule)
    for options in ([], ["-fallback", "172.17.0.2:443"]):
        assert_refused(product, "--redirect", "steer", *options,
                       says=["172.17.0.2", "--iptables with -fallback"])
        assert_visit(network, guest)


def test_web_server_of_a_guest(network, product, responder, guest):
    network.server.run(*DNAT_BY_IPTABLES.split())
    assert_visit(network, guest)
    # One that accepts where nobody has said that the visitors go.
    other = network.server.listen("0.0.0.0", 443)
    assert_refused(product, "--iptables",
                   says=["172.17.0.2:443", "name with -fallback"])
    other.close()
    assert_refused(product, "--iptables", "-fallback", "127.0.0.1:443",
                   says=["use -fallback 172.17.0.2:443"])
    assert_visit(network, guest)
    product.start("--iptables", "-fallback", "172.17.0.2:443")
    visitor = LongVisitor(network.client, Network.SERVER[4], guest)
    visitor.visit()
    assert visitor.peer == Network.BRIDGE[4]
    visitor.close()
    assert_challenges_reach(responder, network)


@pytest.mark.parametrize("whose", [
    ["-d", Network.SERVER[4]], ["-s", Network.CLIENT[4]], ["-i", "client"]],
    ids=["destination", "source", "interface"])
def test_web_server_of_a_guest_for_some(whose, network, product, guest, web):
    """All others come to this host's own, whatever the fallback is."""
    network.server.run(*DNAT_BY_IPTABLES.split(), *whose)
    for fallback in ("172.17.0.2:443", "127.0.0.1:443"):
        assert_refused(product, "--iptables", "-fallback", fallback,
                       says=["some visitors", "use --bpf"])
    assert_visit(network, guest)
    visitor = LongVisitor(network.authority, Network.SERVER_FOR_AUTHORITY[4],
                          web)
    visitor.visit()
    visitor.close()


def test_worker_that_has_to_wait(redirect, product, web):
    """As on a busy machine; here for two seconds, before it connects."""
    start = product.namespace.popen(
        "strace", "-f", "-qq", "-o", os.devnull, "-e",
        "inject=connect:delay_enter=2000000",
        *product.command("start", f"--redirect={redirect}"),
        env=product.environment)
    wait_until(lambda: start.poll() is not None or product.supervisor(),
               what="an end of the start")
    assert product.supervisor(), product.log_text()
    product.stop()
    assert start.wait(60) == 0


def test_web_server_bound_to_a_device(redirect, network, product):
    """No address of this host's own leads to it."""
    listener = network.server.socket()
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"client\0")
    listener.bind(("0.0.0.0", 443))
    listener.listen()
    try:
        assert_refused(product, "--redirect", redirect,
                       says=["by a listener", "handoff"])
        network.client.connect(Network.SERVER[4], 443).close()
    finally:
        listener.close()


def test_forwarder_that_accepts_and_turns_away(redirect, network, product):
    """What a container engine's does while no container is there."""
    listener = network.server.listen("0.0.0.0", 443)
    refusing = Refusing(listener)
    try:
        assert_refused(product, "--redirect", redirect, says=["reset"])
    finally:
        refusing.stop()


class Refusing:
    """Hangs up at once, on a busy machine too: what lasts for 50 ms is taken
    for kept."""

    def __init__(self, listener):
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO,
                                  os.sched_param(1))
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.close()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


INPUT_FROM_LISTED = [
    "-A INPUT -p tcp --dport 443 -s 192.0.2.0/24 -j ACCEPT",
    "-A INPUT -p tcp --dport 443 -j DROP"]
OUTPUT_ANSWERS_ALONE = [
    "-A OUTPUT -p tcp --sport 443 -m conntrack --ctstate ESTABLISHED "
    "-j ACCEPT",
    "-A OUTPUT -p icmp -j ACCEPT", "-P OUTPUT DROP"]


@pytest.mark.parametrize("rules", [INPUT_FROM_LISTED, OUTPUT_ANSWERS_ALONE],
                         ids=["input", "output"])
def test_firewall_that_keeps_the_proxy_from_the_web_server(
        rules, redirect, network, product, web):
    for rule in rules:
        network.server.run("iptables", *rule.split())
    assert_visit(network, web)
    # By IPv6 the web server takes them.
    assert_refused(product, "--redirect", redirect,
                   says=["timed out", "use -fallback [::1]:443"])
    for rule in rules:
        network.server.run("ip6tables", *rule.replace(
            "192.0.2.0/24", "2001:db8:1::/48").replace(
                "icmp", "ipv6-icmp").split())
    assert_refused(product, "--redirect", redirect,
                   says=["timed out", "handoff"])
    assert_visit(network, web)


def comes_through(network, web):
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    through_proxy = visitor.through_proxy
    visitor.close()
    return through_proxy


def test_firewall_that_knows_one_address_of_loopback(redirect, network,
                                                     product, web):
    """Visitors come from an address each, unless that is not let in."""
    for rule in (["-A", "INPUT", "-s", "127.0.0.1", "-j", "ACCEPT"],
                 ["-A", "INPUT", "-s", "127.0.0.0/8", "-j", "DROP"]):
        network.server.run("iptables", *rule)
    product.start("--redirect", redirect)
    visitor = LongVisitor.through_the_proxy(network.client,
                                            Network.SERVER[4], web)
    assert visitor.peer == "127.0.0.1"
    visitor.close()
    # A worker that takes another one's place knows it, too.
    product.kill(product.worker())
    wait_until(lambda: comes_through(network, web))
    visitor = LongVisitor.through_the_proxy(network.client,
                                            Network.SERVER[4], web)
    assert visitor.peer == "127.0.0.1"
    visitor.close()


def test_a_proof_leaves_nothing_behind(redirect, network, product):
    """A connection without a word, and none of the proxy alone."""
    with network.server.listen("0.0.0.0", 443) as web:
        web.settimeout(5)
        product.start("--redirect", redirect)
        connection, (address, _) = web.accept()
        with connection:
            assert address == PROOF_SOURCE
            assert connection.recv(100) == b""
        product.stop()
        product.wait_gone()
        product.start("--no-redirect")
        web.settimeout(0.5)
        with pytest.raises(TimeoutError):
            web.accept()
