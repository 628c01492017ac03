# SPDX-License-Identifier: MIT
"""Port 443 of the host belongs to a container: challenges are taken there."""

import contextlib
import os

import pytest

from conftest import ENGINES, IPV6_ENGINES
from harness.challenge import assert_challenges_reach
from harness.namespace import wait_until
from harness.network import Network
from harness.webserver import Site
from visits import all_engines, open_visitors, report, started

# Of challenges, in each family.
ROUNDS = 3
# That of a change, and what a busy machine adds.
SOON = 30


def peers(visitors):
    """Whom the container sees."""
    return [visitor.peer for visitor in visitors]


def assert_served(network, product, responder, site, visitors, *options):
    with started(network, product, responder, site, visitors, "--bpf",
                 *options) as stayed:
        seen = peers(stayed)
        for _ in range(ROUNDS):
            assert_challenges_reach(responder, network)
        visitors.wait_for_more(40)
        stayed += open_visitors(network, site)
        assert peers(stayed[2:]) == seen
        assert report(product)["mode"] == "handoff"
    # No visitor came to the worker, ever.
    challenges = ROUNDS * len(Network.SERVER)
    assert (f"done: {challenges} connections, {challenges} to the ACME "
            "responder, 0 to the web server") in product.log_text()


@pytest.mark.parametrize("engine_name", [*ENGINES, "pasta"])
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


def assert_handed_off_soon(network, product, responder, site):
    wait_until(lambda: challenges_reach(responder, network), SOON)
    for visitor in open_visitors(network, site):
        visitor.close()
    assert report(product)["mode"] == "handoff"


def stop_without_visitors(product):
    """None ever came to the worker."""
    product.stop()
    product.wait_gone()
    assert " 0 to the web server" in product.log_text()


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
        assert_handed_off_soon(network, product, responder, site)
    container.remove()
    stop_without_visitors(product)


def held_networks(product):
    """Of those that the supervisor has a descriptor of."""
    held = []
    for entry in os.scandir(f"/proc/{product.supervisor()}/fd"):
        with contextlib.suppress(OSError):
            held.append(os.stat(entry.path).st_ino)
    return held


@pytest.mark.usefixtures("strict_firewall")
@pytest.mark.parametrize("engine_name", IPV6_ENGINES)
def test_strict_firewall(container, network, product, responder, site,
                         send_visitors):
    assert_served(network, product, responder, site, send_visitors())


@pytest.mark.parametrize("engine_name", ["docker", "podman"])
def test_two_web_servers(engine, network, product, responder, tmp_path):
    """Each published on an address of the host's own."""
    addresses = (Network.SERVER[4], Network.SERVER_FOR_AUTHORITY[4])
    sites = [Site(tmp_path, f"{name}.example.test") for name in ("a", "b")]
    containers = [
        engine.run_container(site, *engine.NETWORK, "--publish",
                             f"{address}:443:443")
        for address, site in zip(addresses, sites)]

    def visit():
        """Both, which tell by their certificates who they are."""
        return [visitor for address, site in zip(addresses, sites)
                for visitor in open_visitors(network, site, [address])]

    visitors = visit()
    seen = peers(visitors)
    product.start("--bpf")
    for _ in range(ROUNDS):
        assert_challenges_reach(responder, network, addresses)
    during = visit()
    assert peers(during) == seen
    product.stop()
    for visitor in visitors + during:
        visitor.visit()
        visitor.close()
    product.wait_gone()
    assert " 0 to the web server" in product.log_text()
    for container in containers:
        container.remove()


@pytest.mark.parametrize("engine_name", ["docker", "podman"])
def test_container_that_moves(engine, container, network, product, responder,
                              site):
    """To another of the engine's networks, and back."""
    usual, other = engine.NETWORK[1], "other"
    engine.create_network(other)
    product.start("--bpf")
    assert_challenges_reach(responder, network)
    for old, new in ((usual, other), (other, usual)):
        engine.move("container0", old, new)
        assert_handed_off_soon(network, product, responder, site)
    stop_without_visitors(product)


@pytest.mark.parametrize("engine_name", ["docker", "docker-live-restore"])
def test_engine_that_restarts(engine_name, engine, network, product,
                              responder, site):
    """And its containers with it, or not."""
    container = engine.run_container(site, "--restart", "always",
                                     *engine.PUBLISH)
    product.start("--bpf")
    assert_challenges_reach(responder, network)
    engine.restart()
    restarted = engine.serving_container("container0")
    assert ((restarted.inode == container.inode) ==
            (engine_name == "docker-live-restore"))
    assert_handed_off_soon(network, product, responder, site)
    stop_without_visitors(product)
    container.remove()
    restarted.remove()
