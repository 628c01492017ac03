# SPDX-License-Identifier: MIT
"""The proxy's own port: when another has it, and when a backend leads there."""

import json
import os

import pytest

from harness import residue
from harness.challenge import assert_challenges_reach
from harness.network import Network
from harness.visitors import LongVisitor

FAILED = 1
REDIRECTS = pytest.mark.parametrize("redirect", ["steer", "iptables"])


@pytest.fixture
def connection(network, web):
    """The host has given the proxy's port to one that goes out."""
    network.server.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    made = network.server.connect("127.0.0.1", 443, source_port=21443)
    yield made
    made.close()


def held():
    return (f"a connection of {open('/proc/self/comm').read().strip()} "
            f"(process {os.getpid()}) is there")


@REDIRECTS
def test_a_connection_has_the_port(redirect, network, product, web, connection,
                                   clean):
    # The next one is taken as well.
    with network.server.listen("127.0.0.1", 21444):
        result = product.start(f"--redirect={redirect}")
        assert held() in result.stdout
        report = json.loads(product.succeed("status", "--json").stdout)
        assert report["listen"] == 21445
        state = product.pidfile.with_suffix(".state").read_text()
        assert "\nlisten 21445\n" in state
        for address in Network.SERVER.values():
            LongVisitor.through_the_proxy(network.client, address,
                                          web).close()
        # What is made is that port's, and so is what is undone.
        product.kill(product.supervisor())
        product.stop()
        product.wait_gone()
    assert residue.snapshot(network.server) == clean


@REDIRECTS
def test_the_port_was_asked_for(redirect, network, product, connection, clean):
    result = product.run("start", "--daemon", f"--redirect={redirect}",
                         "--listen", "21443")
    assert result.returncode == FAILED
    assert held() in result.stdout
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("words, rule", [
    (["--no-redirect"], None),
    (["--iptables"], "-p tcp --syn --dport 443 -j REDIRECT --to-port 21443")])
def test_somebody_counts_on_the_port(words, rule, network, product, connection,
                                     clean):
    environment = dict(product.environment)
    if rule:
        environment["ACME_ALPN_PROXY_RULESPEC"] = rule
    result = product.run("start", "--daemon", *words, env=environment)
    assert result.returncode == FAILED
    assert held() in result.stdout
    assert residue.snapshot(network.server) == clean


def test_connection_at_another_address_is_in_nobodys_way(network, product,
                                                         web, clean):
    """The listener of steering is at the loopback address alone."""
    with network.client.listen(Network.CLIENT[4], 2222), \
            network.server.connect(Network.CLIENT[4], 2222, source_port=21443):
        product.start("--redirect=steer")
        report = json.loads(product.succeed("status", "--json").stdout)
        assert report["listen"] == 21443
        product.stop()


def test_who_listens_there_is_named(network, product, clean):
    with network.server.listen("127.0.0.1", 21443):
        result = product.run("start", "--daemon", "--redirect=steer")
    assert result.returncode == FAILED
    assert f"(process {os.getpid()}) listens there" in result.stdout


def test_who_leaves_visitors_alone_needs_no_certain_port(
        network, product, responder, web):
    with network.server.listen("127.0.0.1", 21443):
        result = product.start("--redirect=handoff")
        assert f"(process {os.getpid()}) listens there" in result.stdout
        report = json.loads(product.succeed("status", "--json").stdout)
        assert (report["mode"], report["listen"]) == ("handoff", 21444)
        assert_challenges_reach(responder, network)
        product.stop()
        product.wait_gone()


@pytest.mark.parametrize("redirect, address", [
    *((redirect, address) for redirect in ("steer", "iptables")
      for address in ("127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]",
                      "[::ffff:127.0.0.1]")),
    ("none", "127.0.0.1"), ("iptables", Network.SERVER[4]),
    ("iptables", f"[{Network.SERVER[6]}]")])
@pytest.mark.parametrize("option", ["-fallback", "-alpn"])
def test_backend_is_the_proxy(option, redirect, address, network, product,
                              clean):
    result = product.run("start", "--daemon", f"--redirect={redirect}", option,
                         f"{address}:21443")
    assert result.returncode == FAILED
    (message,) = result.stdout.splitlines()
    assert f"{option} {address}:21443 leads back to the proxy" in message
    assert not product.pids()
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == clean


@pytest.mark.parametrize("redirect, words", [
    ("steer", ["-fallback", f"{Network.SERVER[4]}:21443"]),
    ("iptables", ["-fallback", f"{Network.CLIENT[4]}:21443"]),
    ("steer", ["-fallback", "127.0.0.1:21443", "--listen", "12345"])])
def test_backend_at_the_same_port_elsewhere(redirect, words, network, product,
                                            web, clean):
    """One of another host, or where the proxy does not listen."""
    host = (network.client if Network.CLIENT[4] in words[1]
            else network.server)
    with host.listen(words[1].rpartition(":")[0], 21443):
        # The web server's own port is the listener that is looked for.
        words = words if "--listen" in words else [*words, "--listen", "21443"]
        product.start(f"--redirect={redirect}", *words)
        product.stop("--wait")


@pytest.mark.parametrize("address", Network.SERVER.values())
def test_service_port_at_its_outer_address_is_no_loop(address, network, product,
                                                      web, clean):
    """What this host sends there itself, the rule does not see."""
    text = f"[{address}]:443" if ":" in address else f"{address}:443"
    product.start("--iptables", "-fallback", text)
    for visited in Network.SERVER.values():
        visitor = LongVisitor(network.client, visited, web)
        visitor.visit()
        visitor.close()
    report = json.loads(product.succeed("status", "--json").stdout)
    assert (report["accepted"], report["to_fallback"]) == (2, 2)
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean
