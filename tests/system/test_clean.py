# SPDX-License-Identifier: MIT
"""After stop nothing is left; what belongs to others is still there."""

import os

import pytest

from harness import residue
from harness.network import Network
from harness.product import REDIRECTS
from harness.visitors import way_of

# Another program's filter, in classic BPF: matches each packet, lets it pass.
MATCH_ALL = "1,6 0 0 4294967295,"


@pytest.fixture
def others(network):
    """Rules, a qdisc and filters that somebody else keeps on the server."""
    server = network.server
    for command in ("iptables", "ip6tables"):
        server.run(command, "-t", "nat", "-A", "PREROUTING", "-p", "tcp",
                   "--dport", 8443, "-j", "REDIRECT", "--to-port", 9443)
        server.run(command, "-A", "INPUT", "-p", "tcp", "--dport", 25, "-j",
                   "DROP")
    server.run("tc", "qdisc", "add", "dev", "client", "clsact")
    for direction in ("ingress", "egress"):
        server.run("tc", "filter", "add", "dev", "client", direction, "prio",
                   7, "handle", "0x5", "bpf", "bytecode", MATCH_ALL,
                   "classid", "1:1")


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_nothing_is_left_after_stop(redirect, others, network, product, web,
                                    send_visitors):
    before = residue.snapshot(network.server)
    product.start(f"--redirect={redirect}")
    assert residue.snapshot(network.server) != before
    objects = product.bpf_objects()
    assert bool(objects) == (redirect != "iptables")
    visitors = send_visitors()
    visitors.wait_for_more(50, way_of(redirect))
    product.stop("--wait=60")
    visitors.finish_without_failures()
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == before
    residue.wait_bpf_objects_gone(objects)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_others_are_untouched_while_running(redirect, others, network,
                                            product, web):
    """All that was there before is there still, if not alone."""
    before = residue.snapshot(network.server)
    product.start(f"--redirect={redirect}")
    during = residue.snapshot(network.server)
    for tables, rules in before["rules"].items():
        assert set(rules) <= set(during["rules"][tables])
    for place, text in before["filters"].items():
        assert set(text.splitlines()) <= set(
            during["filters"][place].splitlines()), place
    assert before["sysctls"] == during["sysctls"]


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_ipv6_is_left_alone_on_request(redirect, network, product, web):
    before = residue.snapshot(network.server)
    environment = dict(product.environment, ACME_ALPN_PROXY_DISABLEV6="y")
    product.succeed("start", "--daemon", f"--redirect={redirect}",
                    env=environment)
    during = residue.snapshot(network.server)
    assert not [line for line in during["listeners"] if "[" in line
                and "21443" in line]
    for command in ("ip6tables-nft", "ip6tables-legacy"):
        assert during["rules"][command] == before["rules"][command]
    assert during != before
    with network.client.connect(Network.SERVER[6], 443):
        pass
    product.succeed("stop", env=environment)
    product.wait_gone()
    assert residue.snapshot(network.server) == before


def test_rule_of_the_users_own(network, product, web, send_visitors):
    before = residue.snapshot(network.server)
    environment = dict(
        product.environment,
        ACME_ALPN_PROXY_RULESPEC="-p tcp --syn --dport 443 -s 192.0.2.2 "
        "-j REDIRECT --to-port 21443", ACME_ALPN_PROXY_DISABLEV6="y")
    product.succeed("start", "--daemon", "--iptables", env=environment)
    visitors = send_visitors(4)
    visitors.wait_for_more(50, "through_proxy")
    product.succeed("stop", env=environment)
    visitors.finish_without_failures()
    product.wait_gone()
    assert residue.snapshot(network.server) == before


def test_listener_is_out_of_reach(network, product, web):
    product.start("--redirect=steer")
    for address in Network.SERVER.values():
        with pytest.raises(ConnectionRefusedError):
            network.client.connect(address, 21443)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_worker_has_no_rights(redirect, product, web):
    product.start(f"--redirect={redirect}")
    with open(f"/proc/{product.worker()}/status", encoding="ascii") as file:
        status = {name: value.strip() for name, _, value in
                  (line.partition(":") for line in file)}
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status[capabilities], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_modes_of_the_files(redirect, product, web):
    product.start(f"--redirect={redirect}")
    assert product.log.stat().st_mode & 0o777 == 0o600
    assert product.pidfile.stat().st_mode & 0o022 == 0
    assert product.pidfile.stat().st_uid == os.geteuid()
