# SPDX-License-Identifier: MIT
"""Start and stop, again and again, under the eyes of visitors."""

import time

import pytest

from harness.network import Network
from harness.visitors import LongVisitor

SERVED_SECONDS = 5
FAMILIES = (4, 6)
RATE_PER_FAMILY = 110


def use_conntrack(network):
    for command in ("iptables", "ip6tables"):
        network.server.run(command, "-A", "INPUT", "-m", "conntrack",
                           "--ctstate", "ESTABLISHED", "-j", "ACCEPT")


# A host on which nothing uses conntrack is where an iptables rule that comes
# and goes switches it on and off in the middle of connections.
@pytest.mark.parametrize("conntrack, rounds", [(False, 5), (True, 2)],
                         ids=["without-conntrack", "with-conntrack"])
def test_nobody_notices_start_and_stop(redirect, conntrack, rounds, network,
                                       product, web, send_visitors):
    if conntrack:
        use_conntrack(network)
    visitors = [send_visitors(family, rate=RATE_PER_FAMILY)
                for family in FAMILIES]
    before = [LongVisitor(network.client, Network.SERVER[family], web)
              for family in FAMILIES]
    for visitor in before:
        visitor.visit()

    for _ in range(rounds):
        product.start(f"--{redirect}")
        during = [LongVisitor.through_the_proxy(
            network.client, Network.SERVER[family], web)
            for family in FAMILIES]
        time.sleep(SERVED_SECONDS)
        for visitor in before + during:
            visitor.visit()
        product.stop()
        assert not product.listening()
        for visitor in before + during:
            visitor.visit()
        assert not any(visitor.through_proxy for visitor in before)
        time.sleep(1)
        assert product.pids(), "drains as long as a connection is open"
        for visitor in during:
            visitor.visit()
            visitor.close()
        product.wait_gone()

    for visitor in before:
        visitor.visit()
        visitor.close()
    for one in visitors:
        totals = one.finish_without_failures()
        assert totals["visits"] / totals["seconds"] >= 100
        assert totals["through_proxy"] >= rounds * SERVED_SECONDS * 50
        assert totals["through_proxy"] < totals["ok"]


def test_port_used_again(redirect, family, network, product, web):
    """
    A client takes the port of a connection that went through the proxy for
    one that does not: what the kernel remembers of the first must not catch
    the second when the next start comes.
    """
    address = Network.SERVER[family]
    product.start(f"--{redirect}")
    first = LongVisitor.through_the_proxy(network.client, address, web)
    # The server closes first, so that the client's port is free at once.
    first.visit(last=True)
    product.stop()
    product.wait_gone()
    second = LongVisitor(network.client, address, web, source_port=first.port)
    second.visit()
    product.start(f"--{redirect}")
    second.visit()
    product.stop()
    second.visit()
    second.close()
    product.wait_gone()
