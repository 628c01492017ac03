# SPDX-License-Identifier: MIT
"""Others who write the nat table anew while the redirect is in place."""

import pytest

from harness.challenge import assert_challenges_reach
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


@pytest.fixture
def stayed(redirect, network, product, web):
    """One of each family that came through the proxy."""
    product.start(f"--{redirect}")
    visitors = [LongVisitor.through_the_proxy(network.client, address, web)
                for address in Network.SERVER.values()]
    yield visitors
    for visitor in visitors:
        visitor.close()


def test_rewritten_nat_table(redirect, network, product, responder,
                             send_visitors, stayed, tmp_path):
    """
    The program at TC ingress does not notice. The rule of the other redirect
    is gone: visitors go to the web server, and whoever stops the redirect is
    told. Those who are in the proxy already stay there.
    """
    visitors = send_visitors()
    visitors.wait_for_more(50, "through_proxy")
    for _ in range(ROUNDS):
        rewrite(network, tmp_path)
        visitors.wait_for_more(20)
        for visitor in stayed:
            visitor.visit()
    if redirect == "bpf":
        visitors.wait_for_more(50, "through_proxy")
        assert_challenges_reach(responder, network)
    product.stop()
    visitors.wait_for_more(20)
    for visitor in stayed:
        visitor.visit(last=True)
    visitors.finish_without_failures()
    product.wait_gone()
    told = "somebody else has removed" in product.log_text()
    assert told == (redirect == "iptables")
    rules = "".join(network.server.run(f"{command}-save").stdout
                    for command in COMMANDS.values())
    assert "acme-alpn-proxy" not in rules
