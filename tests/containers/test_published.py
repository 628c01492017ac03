# SPDX-License-Identifier: MIT
"""Port 443 of the host belongs to a container."""

import pytest

from conftest import ENGINES
from harness.challenge import assert_challenges_reach
from harness.namespace import wait_until
from harness.network import Network
from harness.visitors import LongVisitor
from harness.webserver import WebServer
from visits import (all_engines, assert_challenges_pass, open_visitors, report,
                    started)

# The other publishes by a socket of the host's.
by_rules = pytest.mark.parametrize(
    "engine_name", [name for name in ENGINES if name != "rootless-podman"])


def relayed(product):
    """How many connections went through the proxy to the web server."""
    return report(product)["to_fallback"]


def wait_for_relayed(product, count):
    goal = relayed(product) + count
    wait_until(lambda: relayed(product) >= goal, 20, f"{count} more relayed")


def assert_served(network, product, responder, site, visitors):
    with started(network, product, responder, site, visitors,
                 "--redirect=steer") as stayed:
        wait_for_relayed(product, 40)
        assert_challenges_reach(responder, network)
        stayed += open_visitors(network, site)


@by_rules
def test_published_port_is_refused(container, network, product, responder,
                                   site, send_visitors):
    """By steering: the engine's rules would take away what it steers."""
    visitors = send_visitors()
    visitors.wait_for_more(20)
    result = product.run("start", "--daemon", "--redirect=steer")
    assert result.returncode == 1
    assert "published by a NAT rule" in result.stdout
    assert_challenges_pass(responder, network)
    visitors.finish_without_failures()


@pytest.mark.parametrize("engine_name", ["docker", "podman"])
def test_host_network(engine, network, product, responder, site,
                      send_visitors):
    container = engine.run_container(site, "--network", "host")
    assert_served(network, product, responder, site, send_visitors())
    container.remove()


@pytest.mark.parametrize("engine_name", ["rootless-podman"])
def test_port_that_is_published_by_a_socket(container, network, product,
                                            responder, site, send_visitors):
    assert_served(network, product, responder, site, send_visitors())


@by_rules
def test_engine_that_starts_after_us(engine, network, product, responder,
                                     site, send_visitors):
    """Its rules come while new connections are steered already."""
    product.start("--redirect=steer")
    assert_challenges_reach(responder, network)
    container = engine.run_container(site)
    wait_until(lambda: "steering stops" in product.log_text(), 10)
    visitors = send_visitors()
    visitors.wait_for_more(40)
    assert_challenges_pass(responder, network)
    product.stop()
    visitors.wait_for_more(20)
    visitors.finish_without_failures()
    container.remove()


@all_engines
def test_container_calls_outside(container, families, network,
                                 product, tmp_path):
    """A container's own https is never ours, whatever its destination."""
    outside = WebServer(network.authority, tmp_path, "outside.example.test")

    def open_visitors():
        return [LongVisitor(container, Network.AUTHORITY[family], outside)
                for family in families]

    before = open_visitors()
    product.start("--redirect=handoff")
    during = open_visitors()
    product.stop()
    # As the outside sees them, and not from 127.0.0.1.
    for visitor in before + during:
        visitor.visit()
        assert visitor.peer in Network.SERVER_FOR_AUTHORITY.values()
        visitor.close()
    product.wait_gone()
    assert "done: 0 connections" in product.log_text()
    outside.stop()


@all_engines
def test_container_calls_the_host(container, engine, families,
                                  network, product, site):
    """By an address of the host's own, and so the published port."""
    caller = engine.run_container(site, *engine.NETWORK)

    def open_visitors():
        return [LongVisitor(caller, Network.SERVER[family], site)
                for family in families]

    visitors = open_visitors()
    product.start("--redirect=handoff")
    visitors += open_visitors()
    product.stop()
    for visitor in visitors + open_visitors():
        visitor.visit()
        visitor.close()
    product.wait_gone()
    caller.remove()
