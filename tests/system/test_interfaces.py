# SPDX-License-Identifier: MIT
"""Interfaces that come, change and go while the TC program is attached."""

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from harness import hello
from harness.challenge import assert_challenges_reach
from harness.namespace import (Namespace, add_address, link, run,
                               wait_until)
from harness.network import Network
from harness.product import Product
from harness.recorder import Recorder

MANY = 100
ALWAYS = {"client", "authority"}


def interfaces(product):
    status = json.loads(product.succeed("status", "--json").stdout)
    return {interface["name"] for interface in status["interfaces"]}


def links(product):
    """The BPF links its processes hold: one for each interface."""
    return {number for kind, number in product.bpf_objects()
            if kind == "link"}


def numbers_of_links(product):
    """The interfaces' numbers that the links are on, one for each link."""
    found = []
    for pid in product.pids():
        for path in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                text = path.read_text()
                if "link_type" in text:
                    found += re.findall(r"^ifindex:\s*(\d+)$", text,
                                        re.MULTILINE)
    return sorted(map(int, found))


def numbers(namespace):
    """All interfaces' numbers but the loopback's."""
    listed = json.loads(namespace.run("ip", "-j", "link").stdout)
    return sorted(device["ifindex"] for device in listed
                  if device["ifname"] != "lo")


def wait_for_interfaces(product, expected):
    """Exactly these, and no link to any other."""
    wait_until(lambda: interfaces(product) == expected,
               what=f"{sorted(expected)}, not {sorted(interfaces(product))}")
    wait_until(lambda: len(links(product)) == len(expected),
               what=f"{len(expected)} links, not {links(product)}")


@pytest.fixture
def server(network, product):
    product.start("--redirect=steer")
    wait_for_interfaces(product, ALWAYS)
    return network.server


def ip(namespace, *words):
    namespace.run("ip", *words)


def test_a_new_interface_is_steered(server, product):
    responder = Recorder(server, "responder", 31443)
    other = Namespace("other")
    try:
        link(server, "late", other, "server")
        add_address(server, "late", "203.0.113.1/24")
        add_address(other, "server", "203.0.113.2/24")
        wait_for_interfaces(product, ALWAYS | {"late"})
        with other.connect("203.0.113.1", 443) as connection:
            connection.sendall(hello.hello(hello.alpn(hello.ACME)))
            assert connection.recv(100) == responder.greeting
    finally:
        other.remove()
        responder.stop()
    wait_for_interfaces(product, ALWAYS)


def batch(namespace, command):
    """One `ip` command for each number below MANY, as fast as can be."""
    namespace.run("bash", "-c", f"for i in $(seq {MANY}); do "
                  f"echo {command}; done | ip -batch -")


def test_many_at_once(server, product):
    batch(server, "link add x$i type veth peer name y$i")
    wait_until(lambda: len(links(product)) == len(ALWAYS) + 2 * MANY,
               what="a link for each interface")
    batch(server, "link del x$i")
    wait_for_interfaces(product, ALWAYS)


def test_many_come_while_many_go(server, product):
    """As on a Kubernetes node: none is missed, and no link is left over."""
    batch(server, "link add x$i type veth peer name y$i")
    batch(server, "link del x$i; "
          "echo link add a$i type veth peer name b$i")
    wait_until(lambda: numbers_of_links(product) == numbers(server),
               what="exactly one link for each interface")
    assert len(numbers(server)) == len(ALWAYS) + 2 * MANY
    batch(server, "link del a$i")
    wait_for_interfaces(product, ALWAYS)


def test_down_and_up(network, server, product, responder):
    for device in ALWAYS:
        ip(server, "link", "set", device, "down")
        ip(server, "link", "set", device, "up")
    # Which took the IPv6 address along.
    add_address(server, "authority",
                f"{Network.SERVER_FOR_AUTHORITY[6]}/{Network.LENGTH[6]}")
    wait_for_interfaces(product, ALWAYS)
    assert_challenges_reach(responder, network)


def test_ports_of_a_bridge(server, product):
    ip(server, "link", "add", "b0", "type", "bridge")
    ip(server, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    wait_for_interfaces(product, ALWAYS | {"b0", "v0", "v1"})
    ip(server, "link", "set", "v0", "master", "b0")
    wait_for_interfaces(product, ALWAYS | {"b0", "v1"})
    ip(server, "link", "set", "v0", "nomaster")
    wait_for_interfaces(product, ALWAYS | {"b0", "v0", "v1"})


def test_moved_and_renamed(network, server, product):
    ip(server, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    wait_for_interfaces(product, ALWAYS | {"v0", "v1"})
    ip(server, "link", "set", "v1", "netns", network.client.name)
    wait_for_interfaces(product, ALWAYS | {"v0"})
    ip(server, "link", "set", "v0", "name", "renamed")
    wait_for_interfaces(product, ALWAYS | {"renamed"})
    ip(network.client, "link", "set", "v1", "netns", server.name)
    wait_for_interfaces(product, ALWAYS | {"renamed", "v1"})


def test_only_named_interfaces(network, product):
    product.start("--redirect=steer", "--interface", "client", "--interface",
                  "eth[0-9]")
    wait_for_interfaces(product, {"client"})
    ip(network.server, "link", "add", "eth7", "type", "veth", "peer", "name",
       "other")
    wait_for_interfaces(product, {"client", "eth7"})
    ip(network.server, "link", "set", "eth7", "name", "lan0")
    wait_for_interfaces(product, {"client"})


def test_no_interface_yet(network, product):
    product.start("--redirect=steer", "--interface", "late*")
    assert "no interface fits yet" in product.log_text()
    wait_for_interfaces(product, set())
    ip(network.server, "link", "add", "late0", "type", "veth", "peer", "name",
       "other")
    wait_for_interfaces(product, {"late0"})


def test_number_used_again(server, product):
    """Another interface under the same number is another interface."""
    add = "link add v0 index 900 type veth peer name v1"
    ip(server, *add.split())
    wait_for_interfaces(product, ALWAYS | {"v0", "v1"})
    for _ in range(5):
        before = links(product)
        server.run("bash", "-c", f"(echo link del v0; echo {add}) | ip -batch -")
        wait_until(lambda: len(links(product) - before) == 2,
                   what="two new links")
        wait_for_interfaces(product, ALWAYS | {"v0", "v1"})


def test_program_that_comes_first_is_told(server, product, visitors_tool):
    """It came after us and ends the chain."""
    if "tcx" not in product.log_text():
        pytest.skip("no tcx before kernel 6.6")
    foreign = server.popen(visitors_tool.with_name("tcx_first"), "client",
                           text=True, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
    try:
        assert foreign.stdout.readline() == "ready\n"
        for number in range(3):
            ip(server, "link", "add", f"v{number}", "type", "bridge")
            wait_until(lambda: f"v{number}" in interfaces(product))
        assert product.log_text().count(
            "client: tcx program foreign (id ") == 1
        assert "client" in interfaces(product)
    finally:
        foreign.communicate()


def test_program_that_is_taken_off_comes_back(network, server, product,
                                              responder):
    """The kernel does not tell of it, where it is attached by tcx."""
    before = links(product)
    if not before:
        pytest.skip("no tcx before kernel 6.6")
    for number in before:
        run("bpftool", "link", "detach", "id", number)
    wait_until(lambda: not links(product) & before and
               len(links(product)) == len(ALWAYS), what="links anew")
    wait_until(lambda: product.log_text().count("taken our program off") ==
               len(ALWAYS), what="a word of each")
    assert_challenges_reach(responder, network)


def test_two_instances(network, server, product, program, tmp_path):
    """Each has its ports, its pidfile and its programs."""
    (tmp_path / "second").mkdir()
    second = Product(program, network.server, tmp_path / "second")
    second.start("--redirect=steer", "--port", "8443", "--listen", "21444")
    assert interfaces(second) == ALWAYS
    assert len(links(product)) == 2 * len(ALWAYS)
    product.stop()
    assert interfaces(second) == ALWAYS
    assert len(links(second)) == len(ALWAYS)
    ip(server, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    wait_for_interfaces(second, ALWAYS | {"v0", "v1"})
    second.stop()
    second.wait_gone()


def test_interface_is_not_for_iptables(product):
    """A rule for iptables has no such patterns: nobody is to believe it did."""
    refused = product.run("start", "--daemon", "--iptables",
                          "--interface", "eth0")
    assert refused.returncode == 1
    assert "iptables does not work here: --interface" in product.log_text()
    product.start("--interface", "client*")
    assert "redirect: steer" in product.succeed("status").stdout
    product.stop()
