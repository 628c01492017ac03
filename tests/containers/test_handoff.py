# SPDX-License-Identifier: MIT
"""Port 443 of the host belongs to a container: challenges are taken there."""

import contextlib
import json
import os

import pytest

from conftest import ENGINES, IPV6_ENGINES
from harness.challenge import assert_challenges_reach
from harness.namespace import wait_until
from harness.network import Network
from visits import assert_challenges_pass, open_visitors

# Of challenges, in each family.
ROUNDS = 3
# That of a change, and what a busy machine adds.
SOON = 1.5

all_engines = pytest.mark.parametrize("engine_name", ENGINES)


def peers(visitors):
    """Whom the container sees."""
    return [visitor.peer for visitor in visitors]


def report(product):
    return json.loads(product.succeed("status", "--json").stdout)


def assert_no_visitor_came(product, challenges):
    """To the worker, ever."""
    product.wait_gone()
    assert (f"done: {challenges} connections, {challenges} to the ACME "
            "responder, 0 to the web server") in product.log_text()


def assert_served(network, product, responder, site, visitors, *options):
    """All of the redirect's life, before the eyes of all kinds of visitors."""
    stayed = open_visitors(network, site)
    seen = peers(stayed)
    visitors.wait_for_more(20)
    assert_challenges_pass(responder, network, site)
    product.start("--bpf", *options)
    for _ in range(ROUNDS):
        assert_challenges_reach(responder, network)
    visitors.wait_for_more(40)
    stayed += open_visitors(network, site)
    assert peers(stayed[2:]) == seen
    assert report(product)["mode"] == "handoff"
    product.stop()
    assert_challenges_pass(responder, network, site)
    visitors.wait_for_more(20)
    for visitor in stayed:
        visitor.visit()
        visitor.close()
    visitors.finish_without_failures()
    assert_no_visitor_came(product, ROUNDS * len(Network.SERVER))


@all_engines
def test_published_port(container, network, product, responder, site,
                        send_visitors):
    assert_served(network, product, responder, site, send_visitors())


@pytest.mark.parametrize("engine_name", ["docker", "podman"])
def test_host_network(engine, network, product, responder, site,
                      send_visitors):
    container = engine.run_container(site, "--network", "host")
    assert_served(network, product, responder, site, send_visitors())
    container.remove()


def challenges_reach(responder, network):
    try:
        assert_challenges_reach(responder, network)
        return True
    except (AssertionError, OSError):
        return False


@all_engines
def test_engine_that_starts_after_us(engine, network, product, responder,
                                     site, send_visitors):
    """While nobody listens steering stands in; not for a moment longer."""
    product.start("--bpf")
    assert_challenges_reach(responder, network)
    assert report(product)["mode"] == "steer"
    container = engine.run_container(site)
    wait_until(lambda: report(product)["mode"] == "handoff", 10)
    visitors = send_visitors()
    visitors.wait_for_more(40)
    before = report(product)["to_fallback"]
    assert_challenges_reach(responder, network)
    visitors.wait_for_more(20)
    assert report(product)["to_fallback"] == before
    product.stop()
    visitors.wait_for_more(20)
    visitors.finish_without_failures()
    container.remove()


@all_engines
def test_container_that_is_replaced(engine, network, product, responder,
                                    site):
    """By one that has another address, perhaps; its network goes with it."""
    container = engine.run_container(site)
    product.start("--bpf")
    for _ in range(3):
        assert_challenges_reach(responder, network)
        inode = container.inode
        container.remove()
        engine.remove_containers()
        wait_until(lambda: inode not in held_networks(product), SOON,
                   "a network that nobody holds")
        container = engine.run_container(site)
        wait_until(lambda: challenges_reach(responder, network), SOON)
        for visitor in open_visitors(network, site):
            visitor.close()
        assert report(product)["mode"] == "handoff"
    container.remove()
    product.stop()
    product.wait_gone()
    assert " 0 to the web server" in product.log_text()


def held_networks(product):
    """Of those that the supervisor has a descriptor of."""
    held = []
    for entry in os.scandir(f"/proc/{product.supervisor()}/fd"):
        with contextlib.suppress(OSError):
            held.append(os.stat(entry.path).st_ino)
    return held


@pytest.mark.parametrize("engine_name", IPV6_ENGINES)
def test_strict_firewall(container, network, product, responder, site,
                         send_visitors):
    """
    Whatever is forwarded to a container does not pass the INPUT rules, so
    they need not accept the port.
    """
    for command in ("iptables", "ip6tables"):
        for rule in (("-A", "INPUT", "-i", "lo", "-j", "ACCEPT"),
                     ("-A", "INPUT", "-m", "conntrack", "--ctstate",
                      "ESTABLISHED,RELATED", "-j", "ACCEPT"),
                     ("-P", "INPUT", "DROP")):
            network.server.run(command, *rule)
    # Without neighbour discovery there is no IPv6.
    network.server.run("ip6tables", "-A", "INPUT", "-p", "icmpv6", "-j",
                       "ACCEPT")
    assert_served(network, product, responder, site, send_visitors())
