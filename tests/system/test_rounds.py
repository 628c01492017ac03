# SPDX-License-Identifier: MIT
"""Start and stop, again and again, under the eyes of visitors."""

import time

import pytest

from harness import residue
from harness.network import Network
from harness.visitors import LongVisitor

SERVED_SECONDS = 5
FAMILIES = (4, 6)


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
    untouched = residue.snapshot(network.server)
    visitors = send_visitors()
    before = [LongVisitor(network.client, Network.SERVER[family], web)
              for family in FAMILIES]
    for visitor in before:
        visitor.visit()

    for _ in range(rounds):
        product.start(f"--redirect={redirect}")
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
        assert residue.snapshot(network.server) == untouched

    for visitor in before:
        visitor.visit()
        visitor.close()
    totals = visitors.finish_without_failures()
    assert rounds * 10 < totals["through_proxy"] < totals["ok"]


def test_port_used_again(redirect, network, product, web):
    """
    A client takes the port of a connection that went through the proxy for
    one that does not: what the kernel remembers of the first must not catch
    the second when the next start comes.
    """
    product.start(f"--redirect={redirect}")
    first = [LongVisitor.through_the_proxy(network.client,
                                           Network.SERVER[family], web)
             for family in FAMILIES]
    # The server closes first, so that the client's port is free at once.
    for visitor in first:
        visitor.visit(last=True)
    product.stop()
    product.wait_gone()
    second = [LongVisitor(network.client, Network.SERVER[family], web,
                          source_port=visitor.port)
              for family, visitor in zip(FAMILIES, first)]
    for visitor in second:
        visitor.visit()
    product.start(f"--redirect={redirect}")
    for visitor in second:
        visitor.visit()
    product.stop()
    for visitor in second:
        visitor.visit()
        visitor.close()
    product.wait_gone()
