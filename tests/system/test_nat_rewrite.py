# SPDX-License-Identifier: MIT
"""Others who write the nat table anew while the redirect is in place."""

import shlex
import time

import pytest

from harness.challenge import assert_challenges_reach
from harness.namespace import wait_until
from harness.network import Network
from harness.visitors import LongVisitor

COMMANDS = {4: "iptables", 6: "ip6tables"}

# What a container engine restores when it starts, or a firewall when it is
# loaded again: the whole table, and nothing else in it.
TABLE = """\
*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {address} -j MASQUERADE
-A DOCKER -p tcp --dport 8443 -j DNAT --to-destination {target}:443
COMMIT
"""
ROUNDS = 5


def rewrite(network, tmp_path):
    for family, command in COMMANDS.items():
        address = Network.CONTAINER[family]
        table = tmp_path / f"{command}.rules"
        table.write_text(TABLE.format(
            address=address,
            target=f"[{address}]" if family == 6 else address))
        network.server.run(f"{command}-restore", table)


def assert_no_rules(network):
    rules = "".join(network.server.run(f"{command}-save").stdout
                    for command in COMMANDS.values())
    assert "acme-alpn-proxy" not in rules


@pytest.fixture
def stayed(redirect, network, product, web):
    """One of each family that came through the proxy."""
    product.start(f"--redirect={redirect}")
    visitors = [LongVisitor.through_the_proxy(network.client, address, web)
                for address in Network.SERVER.values()]
    yield visitors
    for visitor in visitors:
        visitor.close()


def has_rules(network):
    return all("-j REDIRECT" in network.server.run(
        command, "-t", "nat", "-S", "PREROUTING").stdout
               for command in COMMANDS.values())


def test_rewritten_nat_table(redirect, network, product, responder,
                             send_visitors, stayed, tmp_path):
    """
    The program at TC ingress does not notice. The rule of the other redirect
    is put back. Those who are in the proxy already stay there.
    """
    visitors = send_visitors()
    visitors.wait_for_more(50, "through_proxy")
    for _ in range(ROUNDS):
        rewrite(network, tmp_path)
        visitors.wait_for_more(20)
        for visitor in stayed:
            visitor.visit()
        if redirect == "iptables":
            wait_until(lambda: has_rules(network), what="rules put back")
        visitors.wait_for_more(50, "through_proxy")
        assert_challenges_reach(responder, network)
    product.stop()
    visitors.wait_for_more(20)
    for visitor in stayed:
        visitor.visit(last=True)
    visitors.finish_without_failures()
    product.wait_gone()
    told = "somebody else has removed our rule: putting it back"
    assert (told in product.log_text()) == (redirect == "iptables")
    assert_no_rules(network)


def test_rule_that_others_keep_deleting(network, product):
    """We look once a second, so as not to fight with all our might."""
    product.start("--iptables")
    rule = next(line for line in network.server.run(
        "iptables", "-t", "nat", "-S", "PREROUTING").stdout.split("\n")
                if "REDIRECT" in line)
    words = shlex.split(rule.replace("-A ", "-D ", 1))
    told = 0
    began = time.monotonic()
    while told < 3:
        network.server.run("iptables", "-t", "nat", *words, check=False)
        time.sleep(0.02)
        told = product.log_text().count("putting it back")
    assert told <= time.monotonic() - began + 2, product.log_text()
    wait_until(lambda: has_rules(network), what="the rule put back")
    product.stop()
    product.wait_gone()
    assert_no_rules(network)


def test_flushed_legacy_table(network, product, tmp_path):
    """Nobody tells of a change of these: whoever stops the redirect is told."""
    product.take_iptables("legacy", tmp_path)
    product.start("--iptables")
    for command in COMMANDS.values():
        network.server.run(f"{command}-legacy", "-t", "nat", "-F")
    product.stop()
    product.wait_gone()
    assert product.log_text().count("somebody else has removed our rule") == 2
