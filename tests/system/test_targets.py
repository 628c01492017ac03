# SPDX-License-Identifier: MIT
"""NAT leads the port to another socket: of this host, or of a container."""

import json

import pytest

from harness.challenge import assert_challenges_reach
from harness.namespace import Namespace, add_address, link, wait_until
from harness.network import Network
from harness.visitors import Crowd, LongVisitor, Visitors
from harness.webserver import WebServer

HANDOFF = ("--redirect", "handoff")
ELSEWHERE = ("0.0.0.0:8443", "[::]:8443")


def status(product):
    return json.loads(product.succeed("status", "--json").stdout)


@pytest.fixture
def send_visitors(visitors_tool, network, tmp_path):
    def send(web, rate=50):
        return Crowd([Visitors(visitors_tool, network.client, address, web,
                               tmp_path, rate=rate)
                      for address in Network.SERVER.values()])
    return send


def assert_served(network, product, responder, web, visitors, rounds=3):
    """Challenges are taken, and no visitor ever sees the proxy."""
    for _ in range(rounds):
        assert_challenges_reach(responder, network)
    visitors.wait_for_more(30)
    for family, address in Network.SERVER.items():
        visitor = LongVisitor(network.client, address, web)
        visitor.visit()
        assert visitor.peer == Network.CLIENT[family]
        visitor.close()
    now = status(product)
    assert now["mode"] == "handoff"
    product.stop()
    visitors.wait_for_more(30)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == 0
    product.wait_gone()
    # Nobody but the challenges came to the worker.
    assert " 0 to the web server" in product.log_text()


def lead_to_own_port(network, how):
    if how == "iptables":
        for command in ("iptables", "ip6tables"):
            network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                               "tcp", "--dport", 443, "-j", "REDIRECT",
                               "--to-ports", 8443)
    elif how == "address":
        network.server.run("ip", "address", "add", "203.0.113.9/32", "dev",
                           "lo")
        network.server.run("ip", "address", "add", "2001:db8:9::9/128", "dev",
                           "lo")
        for command, target in (("iptables", "203.0.113.9:8443"),
                                ("ip6tables", "[2001:db8:9::9]:8443")):
            network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                               "tcp", "--dport", 443, "-j", "DNAT",
                               "--to-destination", target)
    else:
        network.server.run(
            "nft", "add table inet own; add chain inet own pre { type nat "
            "hook prerouting priority dstnat + 10; }; "
            "add rule inet own pre tcp dport 443 redirect to :8443")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("how", ["iptables", "nft", "address"])
def test_to_the_host_itself(how, late, network, product, responder, tmp_path,
                            send_visitors):
    web = WebServer(network.server, tmp_path, listen=(
        "0.0.0.0:443", "[::]:443", *ELSEWHERE))
    if late:
        product.start(*HANDOFF)
        assert_challenges_reach(responder, network)
    lead_to_own_port(network, how)
    visitors = send_visitors(web)
    if late:
        # An established connection shows nothing; a rule is seen in a second.
        wait_until(lambda: challenges_pass(responder, network), 1.5)
    else:
        product.start(*HANDOFF)
    assert_served(network, product, responder, web, visitors)
    web.stop()


def challenges_pass(responder, network):
    try:
        assert_challenges_reach(responder, network)
        return True
    except (AssertionError, OSError):
        return False


class Container:
    """nginx in a namespace on the server's bridge."""

    def __init__(self, network, directory, number=2, port=443):
        self.network = network
        self.namespace = Namespace(f"container{number}")
        network.namespaces.append(self.namespace)
        self.device = f"container{number}"
        self.port = port
        link(network.server, self.device, self.namespace, "eth0")
        network.server.run("ip", "link", "set", self.device, "master",
                           "bridge")
        for address, length in ((f"172.17.0.{number}", 24),
                                (f"fd17::{number}", 64)):
            add_address(self.namespace, "eth0", f"{address}/{length}")
        for gateway in Network.BRIDGE.values():
            self.namespace.run("ip", "route", "add", "default", "via", gateway)
        folder = directory / f"container{number}"
        folder.mkdir(exist_ok=True)

    def remove(self):
        self.network.namespaces.remove(self.namespace)
        self.namespace.remove()


def make_bridge(network):
    server = network.server
    server.sysctl("net.ipv4.ip_forward", 1)
    server.sysctl("net.ipv6.conf.all.forwarding", 1)
    server.run("ip", "link", "add", "name", "bridge", "type", "bridge")
    server.run("ip", "link", "set", "bridge", "up")
    for family, length in Network.LENGTH.items():
        add_address(server, "bridge", f"{Network.BRIDGE[family]}/{length}")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("port", [443, 8443])
def test_to_a_container(port, late, network, product, responder, tmp_path,
                        send_visitors):
    container = network.add_container()
    web = WebServer(container, tmp_path, listen=("0.0.0.0:443", "[::]:443",
                                                 *ELSEWHERE))
    if late:
        other = WebServer(network.server, tmp_path, "other.example.test")
        product.start(*HANDOFF)
        assert_challenges_reach(responder, network)
    publish(network, port)
    visitors = send_visitors(web)
    if late:
        wait_until(lambda: challenges_pass(responder, network), 1.5)
        other.stop()
    else:
        product.start(*HANDOFF)
    assert_served(network, product, responder, web, visitors)
    web.stop()


def publish(network, port=443):
    for family, command in ((4, "iptables"), (6, "ip6tables")):
        address = Network.CONTAINER[family]
        target = f"[{address}]:{port}" if family == 6 else f"{address}:{port}"
        network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                           "tcp", "-m", "addrtype", "--dst-type", "LOCAL",
                           "--dport", 443, "-j", "DNAT", "--to-destination",
                           target)
