# SPDX-License-Identifier: MIT
"""
Hosts on which a NAT rule cannot be right, which only what is configured shows:
iptables is refused with the reason, and without a choice BPF is taken.
"""

import pytest

from harness import residue
from harness.challenge import assert_challenges_reach
from harness.namespace import add_address
from harness.network import Network
from harness.visitors import LongVisitor

VIP = "192.0.2.99"


def run_all(network, *commands):
    for command in commands:
        network.server.run(*command.split())


def route_by_source(network):
    add_address(network.server, "client", f"{VIP}/24")
    run_all(network, f"ip rule add from {VIP} lookup 100",
            "ip route add default via 192.0.2.2 table 100")


def route_by_port(network):
    run_all(network, "ip rule add ipproto tcp sport 443 lookup 100",
            "ip route add default via 192.0.2.2 table 100",
            "ip route add 198.51.100.0/24 dev authority table 100")


def leave_without_address(network):
    """The service's address is on loopback, and routed here."""
    run_all(network, "ip address flush dev client",
            f"ip address add {Network.SERVER[4]}/32 dev lo",
            f"ip route add {Network.CLIENT[4]} dev client")


def do_not_track(network):
    run_all(network, "iptables -t raw -A PREROUTING -p tcp --dport 443 "
            "-j CT --notrack")


def do_not_track_by_nft(network):
    run_all(network, "nft add table inet raw; add chain inet raw prerouting "
            "{ type filter hook prerouting priority raw; }; add rule inet raw "
            "prerouting tcp dport 443 notrack")


@pytest.mark.parametrize("hinder, reason", [
    (route_by_source, VIP), (route_by_port, "port 443"),
    (leave_without_address, "interface client has no IPv4 address"),
    (do_not_track, "not tracked"), (do_not_track_by_nft, "not tracked")],
    ids=lambda value: getattr(value, "__name__", ""))
def test_nat_cannot_be_right(hinder, reason, network, product, responder, web):
    hinder(network)
    before = residue.snapshot(network.server)
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode == 1
    assert reason in result.stdout and "--bpf" in result.stdout
    assert residue.snapshot(network.server) == before
    product.start()
    LongVisitor(network.client, Network.SERVER[4], web).close()
    assert_challenges_reach(responder, network)


def test_one_address_is_not_tracked(network, product, tmp_path):
    """By a rule that nft does not list."""
    product.take_iptables("legacy", tmp_path)
    run_all(network, "iptables-legacy -t raw -A PREROUTING "
            f"-d {Network.SERVER[4]} -p tcp --dport 443 --syn -j CT --notrack")
    result = product.run("start", "--daemon", "--iptables")
    assert result.returncode == 1
    assert "not tracked" in result.stdout and "--bpf" in result.stdout


@pytest.mark.parametrize("commands", [
    [f"ip rule add from {Network.SERVER[4]} lookup 100"],
    ["ip rule add from 192.0.2.0/24 lookup 100"],
    ["ip rule add from 203.0.113.0/24 lookup 100"],
    ["iptables -t raw -A OUTPUT -p tcp --sport 443 -j CT --notrack",
     "iptables -t raw -A PREROUTING -i lo -j CT --notrack",
     "iptables -t raw -A PREROUTING -p udp --dport 443 -j CT --notrack"]],
    ids=["first-address", "its-network", "others", "untracked-others"])
def test_nat_is_right(commands, network, product, web):
    add_address(network.server, "client", f"{VIP}/24")
    run_all(network, "ip route add default via 192.0.2.2 table 100")
    if len(commands) == 1:
        run_all(network, *commands)
    product.start("--iptables")
    if len(commands) == 1:
        LongVisitor.through_the_proxy(network.client, VIP, web).close()
