# SPDX-License-Identifier: MIT
"""Hosts that are hard to redirect on: firewalls, floods, containers."""

import json

import pytest

from harness import hello, residue
from harness.challenge import (CHALLENGE, answer_to_challenge,
                               assert_challenges_reach)
from harness.flood import Flood
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.recorder import Recorder
from harness.visitors import (Crowd, LongVisitor, Visitors, assert_went_by,
                              way_of)
from harness.webserver import WebServer


def assert_served(visitors, responder, network, product, redirect):
    """The whole life of the redirect under the eyes of @visitors."""
    visitors.wait_for_more(30)
    product.start(f"--redirect={redirect}")
    visitors.wait_for_more(100, way_of(redirect))
    assert_challenges_reach(responder, network)
    product.stop()
    visitors.wait_for_more(30)
    assert_went_by(redirect, visitors.finish_without_failures())
    product.wait_gone()


def accept_only(network, *what):
    for command in ("iptables", "ip6tables"):
        for rule in (["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"],
                     ["-A", "INPUT", *what, "-j", "ACCEPT"],
                     ["-P", "INPUT", "DROP"]):
            network.server.run(command, *rule)
    # Without neighbour discovery there is no IPv6.
    network.server.run("ip6tables", "-A", "INPUT", "-p", "icmpv6", "-j",
                       "ACCEPT")


def test_firewall_that_accepts_only_https(network, product, responder,
                                          send_visitors):
    accept_only(network, "-p", "tcp", "--dport", 443)
    assert_served(send_visitors(), responder, network, product, "steer")


def count_cookies(network, what):
    """How many SYNs the server has answered with a cookie ("Sent"), and how
    many connections it made of those that came back ("Recv")."""
    counters = network.server.run("nstat", "-aszj").stdout
    return json.loads(counters)["kernel"][f"TcpExtSyncookies{what}"]


def cookies_sent(network):
    return count_cookies(network, "Sent")


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_syn_cookies_for_everybody(redirect, network, product, responder,
                                   send_visitors):
    network.server.sysctl("net.ipv4.tcp_syncookies", 2)
    before = cookies_sent(network)
    assert_served(send_visitors(), responder, network, product, redirect)
    assert cookies_sent(network) - before > 100


@pytest.fixture
def flood(network, visitors_tool):
    return Flood(network, visitors_tool.with_name("flood"))


def finish_in_flood(visitors):
    """A SYN may be lost where so many are, and again; a visit must not."""
    totals = visitors.finish()
    assert totals["ok"] + totals["stalled"] == totals["visits"], totals


# Fewer than a network may have at once.
CHALLENGES_WITHIN = 40


def ask_within(flooding, responder, network):
    """Challenges while the flood goes on, by the family that is flooded: how
    many there were, and how many of them came to the responder."""
    asked = reached = 0
    while flooding.poll() is None and reached < CHALLENGES_WITHIN:
        answer = answer_to_challenge(network, Network.SERVER_FOR_AUTHORITY[4])
        asked += 1
        if answer == responder.greeting:
            assert responder.next().data == CHALLENGE
            reached += 1
    return asked, reached


@pytest.mark.parametrize("redirect, cookies", [
    ("handoff", 1), ("handoff", 2), ("steer", 1)])
def test_flood_of_syns(redirect, cookies, network, product, responder, flood,
                       send_visitors):
    """Cookies begin when the queue is full, or are for all; visitors and the
    CA are among them."""
    network.server.sysctl("net.ipv4.tcp_max_syn_backlog", 128)
    network.server.sysctl("net.ipv4.tcp_syncookies", cookies)
    product.start(f"--redirect={redirect}")
    visitors = send_visitors(rate=100)
    visitors.wait_for_more(30, way_of(redirect))
    before = cookies_sent(network)
    flooding = flood.send()
    wait_until(lambda: cookies_sent(network) - before > 1000, what="cookies")
    made = count_cookies(network, "Recv")
    asked, reached = ask_within(flooding, responder, network)
    assert count_cookies(network, "Recv") - made >= reached
    # By handoff, one whose third segment is lost beside its cookie has no
    # socket to be taken from.
    assert reached > 0 if redirect == "handoff" else reached == asked
    # Far below what one core takes, so that a busy machine passes, too.
    assert flood.finish(flooding) > 50_000
    assert cookies_sent(network) - before > 50_000
    assert_challenges_reach(responder, network)
    finish_in_flood(visitors)


def test_flood_that_fills_conntrack(network, product, flood, send_visitors):
    """
    Behind a stateful firewall each SYN of the flood stays in the table, until
    there is no room for others.
    """
    network.server.run(
        "nft", "add table inet t; add chain inet t input "
        "{ type filter hook input priority 0; policy drop; }; "
        "add rule inet t input ct state established accept; "
        "add rule inet t input meta l4proto ipv6-icmp accept; "
        "add rule inet t input iif lo accept; "
        "add rule inet t input tcp dport 443 accept")
    product.start("--redirect=steer")
    visitors = send_visitors(rate=100)
    visitors.wait_for_more(30, "through_proxy")
    flood.finish(flood.send())
    visitors.wait_for_more(30)
    finish_in_flood(visitors)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_other_nat_rules(redirect, network, product, responder,
                         send_visitors):
    """Any NAT rule makes the kernel look at each new flow's socket anew."""
    for command in ("iptables", "ip6tables"):
        network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                           "tcp", "--dport", 8080, "-j", "REDIRECT",
                           "--to-port", 80)
    assert_served(send_visitors(), responder, network, product, redirect)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_both_iptables(variant, network, product, responder, send_visitors,
                       tmp_path):
    product.take_iptables(variant, tmp_path)
    assert_served(send_visitors(), responder, network, product,
                  "iptables")


class ContainerHost:
    """nginx in a container, published on the server's port 443."""

    def __init__(self, network, tool, directory, published=True):
        self.network = network
        self._tool = tool
        self._directory = directory
        self.namespace = network.add_container()
        if published:
            network.publish_port()
        self.web = WebServer(self.namespace, directory,
                             "container.example.test")
        # What docker-proxy is for: the host's own connections.
        self.forwarder = network.server.popen(
            "/usr/bin/python3", "-c", FORWARDER, Network.CONTAINER[4])
        network.server.run("timeout", 10, "bash", "-c",
                           "until ss -Htln sport = :443 | grep -q .; "
                           "do sleep 0.05; done")

    def send_visitors(self):
        return Crowd([Visitors(self._tool, self.network.client, address,
                               self.web, self._directory, rate=30)
                      for address in Network.SERVER.values()])

    def stop(self):
        self.forwarder.terminate()
        self.forwarder.wait(60)
        self.web.stop()


FORWARDER = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()

async def forward(reader, writer):
    try:
        ends = await asyncio.open_connection(sys.argv[1], 443)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(copy(reader, ends[1]), copy(ends[0], writer))
    writer.close()
    ends[1].close()

async def main():
    server = await asyncio.start_server(forward, ["0.0.0.0", "::"], 443,
                                        backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def container_host(network, visitors_tool, tmp_path):
    made = ContainerHost(network, visitors_tool, tmp_path)
    yield made
    made.stop()


def assert_container_served(network, product, responder, container_host,
                            peers, *options):
    """The container sees visitors as @peers, by family, and keeps those that
    are there at the stop."""
    visitors = container_host.send_visitors()
    visitors.wait_for_more(30)
    product.start(*options)
    assert_challenges_reach(responder, network)
    during = [LongVisitor(network.client, address, container_host.web)
              for address in Network.SERVER.values()]
    for visitor, family in zip(during, Network.SERVER):
        visitor.visit()
        assert visitor.peer == peers[family]
    visitors.wait_for_more(50)
    product.stop()
    for visitor in during:
        visitor.visit()
        visitor.close()
    visitors.wait_for_more(30)
    visitors.finish_without_failures()
    product.wait_gone()


def test_firewall_that_accepts_nothing(network, product, responder,
                                       container_host):
    """What is forwarded to a container does not pass its INPUT rules."""
    accept_only(network, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    assert_container_served(network, product, responder, container_host,
                            Network.CLIENT, "--bpf")


def test_iptables_before_the_rules_of_an_engine(network, product, responder,
                                                container_host):
    """The container is the fallback: its forwarder listens on loopback."""
    assert_container_served(
        network, product, responder, container_host,
        dict.fromkeys(Network.SERVER, Network.BRIDGE[4]),
        "--iptables", "--fallback", "127.0.0.1:443")


def test_zone_in_front_of_a_published_port(network, product, responder,
                                           container_host):
    """Conntrack has the visitors' connections apart from all others."""
    for command in ("iptables", "ip6tables"):
        network.server.run(command, "-t", "raw", "-A", "PREROUTING", "-p",
                           "tcp", "--dport", 443, "-j", "CT", "--zone-orig",
                           5)
    visitors = container_host.send_visitors()
    visitors.wait_for_more(30)
    product.start("--bpf")
    assert_challenges_reach(responder, network)
    visitors.wait_for_more(50)
    product.stop()
    visitors.finish_without_failures()
    product.wait_gone()


def test_steering_a_published_port_is_refused(network, product,
                                              container_host):
    """What it steers would be taken away from it."""
    before = residue.snapshot(network.server)
    result = product.run("start", "--daemon", "--redirect=steer")
    assert result.returncode == 1
    assert "published by a" in result.stdout and "--bpf" in result.stdout
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == before


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_traffic_of_containers_is_left_alone(redirect, network, product, web,
                                             tmp_path):
    """A container's own https to the outside goes where it was sent."""
    container = network.add_container()
    network.masquerade()
    outside = WebServer(network.authority, tmp_path, "outside.example.test")

    def open_visitors():
        return [LongVisitor(container, address, outside)
                for address in Network.AUTHORITY.values()]

    def assert_direct(visitors):
        for visitor in visitors:
            visitor.visit()
        assert [visitor.peer for visitor in visitors] == list(
            Network.SERVER_FOR_AUTHORITY.values())

    visitors = open_visitors()
    assert_direct(visitors)
    product.start(f"--redirect={redirect}")
    visitors += open_visitors()
    assert_direct(visitors[:2])
    assert_direct(visitors[2:])
    product.stop()
    assert_direct(visitors[:2])
    assert_direct(visitors[2:])
    for visitor in visitors:
        visitor.close()
    product.wait_gone()
    assert "done: 0 connections" in product.log_text()
    outside.stop()


def test_container_calls_the_host(redirect, network, product, web):
    """The host's own address, asked for from a container, is redirected."""
    container = network.add_container()
    product.start(f"--redirect={redirect}")
    for address in Network.BRIDGE.values():
        LongVisitor.through_the_proxy(container, address, web).close()


def route_by_mark(network, destination):
    """The server routes @destination to the authority, but by a mark alone."""
    server = network.server
    server.sysctl("net.ipv4.ip_forward", 1)
    for device in ("all", "client", "authority"):
        server.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)
    server.run("ip", "route", "add", "default", "via", Network.AUTHORITY[4],
               "table", 100)
    server.run("iptables", "-t", "mangle", "-A", "PREROUTING", "-d",
               destination, "-j", "MARK", "--set-mark", 1)
    server.run("ip", "rule", "add", "fwmark", 1, "lookup", 100)


def test_traffic_routed_by_a_mark_is_left_alone(network, product, responder):
    """Where the main table does not know its way, also if that comes late."""
    elsewhere = "203.0.113.80"
    network.authority.run("ip", "address", "add", elsewhere, "dev", "lo")
    other = Recorder(network.authority, "other", 443, elsewhere)
    website = Recorder(network.server, "web", 443, "0.0.0.0")
    challenge = hello.hello(hello.alpn(hello.ACME))

    def greeting(address):
        with network.client.connect(address, 443) as connection:
            connection.sendall(challenge)
            return connection.recv(100)

    product.start("--redirect=steer", "--verbose")
    try:
        route_by_mark(network, elsewhere)
        wait_until(lambda: "asks for a mark" in product.log_text())
        assert greeting(elsewhere) == other.greeting
        assert greeting(Network.SERVER[4]) == responder.greeting
        # This host's by a route alone.
        network.server.run("ip", "route", "add", "local", "198.18.0.0/24",
                           "dev", "lo")
        wait_until(lambda: greeting("198.18.0.7") == responder.greeting)
    finally:
        other.stop()
        website.stop()
