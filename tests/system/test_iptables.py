# SPDX-License-Identifier: MIT
"""What only the iptables redirect has to get right."""

import contextlib
import re
import threading
import time

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import accept_visitor
from harness.visitors import LongVisitor

IPTABLES = {4: "iptables", 6: "ip6tables"}


def our_rules(network, family):
    rules = network.server.run(IPTABLES[family], "-t", "nat", "-S")
    return [line for line in rules.stdout.splitlines()
            if "acme-alpn-proxy" in line]


def accept_https_alone(network, family):
    for rule in (["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"],
                 ["-A", "INPUT", "-p", "tcp", "--dport", 443, "-j", "ACCEPT"],
                 ["-A", "INPUT", "-p", "icmpv6", "-j", "ACCEPT"],
                 ["-P", "INPUT", "DROP"]):
        if family == 6 or "icmpv6" not in rule:
            network.server.run(IPTABLES[family], *rule)


def test_firewall_in_the_way_is_told(family, network, product, web):
    """Behind the redirect, visitors meet the firewall with another port."""
    accept_https_alone(network, family)
    before = residue.snapshot(network.server)
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode != 0
    assert "--bpf" in result.stdout
    assert residue.snapshot(network.server) == before


def test_firewall_of_nft_in_the_way_is_told(network, product, web):
    """One that iptables does not list."""
    network.server.run(
        "nft", "add table inet t; add chain inet t input "
        "{ type filter hook input priority 0; policy drop; }; "
        "add rule inet t input ct state established,related accept; "
        "add rule inet t input meta l4proto ipv6-icmp accept; "
        "add rule inet t input iif lo accept; "
        "add rule inet t input tcp dport 443 accept")
    before = residue.snapshot(network.server)
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode == 1
    assert "use --bpf, or accept the latter with ct status dnat" \
        in result.stdout
    assert residue.snapshot(network.server) == before
    network.server.run("nft", "add rule inet t input ct status dnat accept")
    product.start("--iptables")
    LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                  web).close()


def test_firewall_that_lets_redirected_connections_in(
        family, network, product, web, send_visitors):
    accept_https_alone(network, family)
    network.server.run(IPTABLES[family], "-I", "INPUT", "-m", "conntrack",
                       "--ctstate", "DNAT", "-j", "ACCEPT")
    product.start("--iptables")
    visitors = send_visitors(family)
    visitors.wait_for_more(50, "through_proxy")
    product.stop()
    visitors.finish_without_failures()


def test_hold_lasts_as_long_as_the_drain(family, network, product, web):
    """An inert rule keeps connection tracking on for what was redirected."""
    product.start("--iptables")
    visitor = LongVisitor(network.client, Network.SERVER[family], web)
    visitor.visit()
    assert visitor.through_proxy
    assert len(our_rules(network, family)) == 2
    product.stop()
    hold, = our_rules(network, family)
    assert re.search(r"--ctstate INVALID .*hold [0-9]+-[0-9a-f]+\"$", hold)
    visitor.visit()
    visitor.close()
    product.wait_gone()
    assert our_rules(network, family) == []


def test_hold_outlives_a_killed_supervisor(family, network, product, web):
    """Its worker still relays; the rule goes when that has ended."""
    product.start("--iptables")
    visitor = LongVisitor(network.client, Network.SERVER[family], web)
    visitor.visit()
    product.kill(product.supervisor())
    product.stop()
    assert len(our_rules(network, family)) == 1
    visitor.visit()
    visitor.close()
    wait_until(lambda: not our_rules(network, family), what="the hold's end")
    product.wait_gone()


def test_stale_rules_are_replaced(network, product, web, send_visitors):
    """However often an instance was killed, there is one rule at the end."""
    for _ in range(3):
        product.start("--iptables")
        product.kill_all()
    product.start("--iptables")
    for family in IPTABLES:
        assert len(our_rules(network, family)) == 2
    visitors = send_visitors(4)
    visitors.wait_for_more(50, "through_proxy")
    product.stop()
    visitors.finish_without_failures()


@pytest.mark.parametrize("rulespec", [
    "-p tcp --dport 443 -j REDIRECT --to-port 21443 -m comment "
    "--comment 'two words'",
    "  -p tcp  --dport\t443 -j REDIRECT --to-port 21443 -m comment "
    "--comment \"two words\"",
], ids=["single", "double"])
def test_quotes_in_a_rule_of_the_users_own(rulespec, network, product, web):
    environment = dict(product.environment, ACME_ALPN_PROXY_RULESPEC=rulespec)
    product.succeed("start", "--daemon", "--iptables", env=environment)
    rules = network.server.run("iptables", "-t", "nat", "-S").stdout
    assert '--comment "two words"' in rules
    product.succeed("stop", env=environment)
    assert "two words" not in network.server.run("iptables", "-t", "nat",
                                                 "-S").stdout


@pytest.mark.parametrize("rulespec", ["-p tcp 'open", "-p tcp -j NOSUCH",
                                      "--nonsense", " "])
def test_malformed_rule_of_the_users_own(rulespec, network, product, web):
    before = residue.snapshot(network.server)
    environment = dict(product.environment, ACME_ALPN_PROXY_RULESPEC=rulespec)
    result = product.run("start", "--daemon", "--iptables", env=environment)
    assert result.returncode != 0
    assert result.stdout.count("\n") == 1
    assert residue.snapshot(network.server) == before


def remembered(network):
    """What conntrack still knows of connections to the listener."""
    entries = network.server.run("cat", "/proc/net/nf_conntrack").stdout
    return [line for line in entries.splitlines() if "sport=21443" in line]


def stop_in_the_midst(product, visitors):
    product.stop()
    visitors.wait_for_more(50)
    visitors.finish_without_failures()


def kill_all_and_stop(product, visitors):
    visitors.finish_without_failures()
    product.kill_all()
    product.stop()


def kill_supervisor_and_stop(product, visitors):
    visitors.finish_without_failures()
    product.kill(product.supervisor())
    product.stop()


@pytest.mark.parametrize("end", [stop_in_the_midst, kill_all_and_stop,
                                 kill_supervisor_and_stop],
                         ids=lambda end: end.__name__)
def test_ended_connections_are_forgotten(end, network, product, web,
                                         send_visitors):
    """
    Nothing but the hold keeps tracking on here: what is remembered beyond it
    would be met by the next start (test_rounds, test_port_used_again).
    """
    product.start("--iptables")
    visitors = send_visitors()
    visitors.wait_for_more(200, "through_proxy")
    assert remembered(network)
    end(product, visitors)
    product.wait_gone()
    wait_until(lambda: not our_rules(network, 4) and
               not our_rules(network, 6), what="the hold's end")
    assert remembered(network) == []


def test_flushed_table_during_the_drain(network, product, web):
    """On a host where nothing else tracks connections."""
    product.start("--iptables")
    visitor = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                            web)
    product.stop()
    assert len(our_rules(network, 4)) == 1
    network.server.run("iptables", "-t", "nat", "-F")
    wait_until(lambda: our_rules(network, 4), what="the hold")
    visitor.visit()
    visitor.close()
    product.wait_gone()
    assert our_rules(network, 4) == []


def send_without_end(listener):
    connection, _ = accept_visitor(listener)
    with connection, contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x" * 1024)
            time.sleep(0.001)


def test_flushed_table_during_a_download(network, product):
    """One that goes on in that moment is reset, as the manual says: it never
    hangs."""
    listener = network.server.listen("0.0.0.0", 443)
    server = threading.Thread(target=send_without_end, args=(listener,))
    server.start()
    try:
        product.start("--iptables")
        with network.client.connect(Network.SERVER[4], 443) as visitor:
            visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert visitor.recv(1024)
            product.stop()
            visitor.settimeout(5)
            network.server.run("iptables", "-t", "nat", "-F")
            until = time.monotonic() + 3
            with contextlib.suppress(ConnectionResetError):
                while time.monotonic() < until:
                    assert visitor.recv(1024)
        wait_until(lambda: "that open connections need" in product.log_text(),
                   what="a word of it")
        product.wait_gone()
    finally:
        listener.close()
        server.join(10)
