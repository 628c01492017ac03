# SPDX-License-Identifier: MIT
"""NAT leads the port to another socket: of this host, or of a container."""

import contextlib
import json
import os

import pytest

from harness import hello, residue
from harness.challenge import assert_challenges_reach
from harness.namespace import Namespace, add_address, link, wait_until
from harness.network import Network
from harness.product import WITHOUT_TCX
from harness.visitors import Crowd, LongVisitor, Visitors
from harness.webserver import Site, WebServer

HANDOFF = ("--redirect", "handoff")
# A second, and what a busy machine adds.
SOON = 30
ELSEWHERE = ("0.0.0.0:8443", "[::]:8443")
# Two of the host's addresses.
BOTH = (Network.SERVER[4], Network.SERVER_FOR_AUTHORITY[4])
MACHINE = {4: "172.18.0.2", 6: "fd18::2"}


def status(product):
    return json.loads(product.succeed("status", "--json").stdout)


@pytest.fixture
def send_visitors(visitors_tool, network, tmp_path):
    def send(web, rate=50):
        return Crowd([Visitors(visitors_tool, network.client, address, web,
                               tmp_path, rate=rate)
                      for address in Network.SERVER.values()])
    return send


def assert_served(network, product, responder, web, visitors, rounds=3):
    """Challenges are taken, and no visitor ever sees the proxy."""
    for _ in range(rounds):
        assert_challenges_reach(responder, network)
    visitors.wait_for_more(30)
    for family, address in Network.SERVER.items():
        visitor = LongVisitor(network.client, address, web)
        visitor.visit()
        assert visitor.peer == Network.CLIENT[family]
        visitor.close()
    now = status(product)
    assert now["mode"] == "handoff"
    product.stop()
    visitors.wait_for_more(30)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == 0
    product.wait_gone()
    # Nobody but the challenges came to the worker.
    assert " 0 to the web server" in product.log_text()


def lead_to_own_port(network, how):
    if how == "iptables":
        for command in ("iptables", "ip6tables"):
            network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                               "tcp", "--dport", 443, "-j", "REDIRECT",
                               "--to-ports", 8443)
    elif how == "address":
        network.server.run("ip", "address", "add", "203.0.113.9/32", "dev",
                           "lo")
        network.server.run("ip", "address", "add", "2001:db8:9::9/128", "dev",
                           "lo")
        for command, target in (("iptables", "203.0.113.9:8443"),
                                ("ip6tables", "[2001:db8:9::9]:8443")):
            network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                               "tcp", "--dport", 443, "-j", "DNAT",
                               "--to-destination", target)
    else:
        network.server.run(
            "nft", "add table inet own; add chain inet own pre { type nat "
            "hook prerouting priority dstnat + 10; }; "
            "add rule inet own pre tcp dport 443 redirect to :8443")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("how", ["iptables", "nft", "address"])
def test_to_the_host_itself(how, late, network, product, responder, tmp_path,
                            send_visitors):
    web = WebServer(network.server, tmp_path, listen=(
        "0.0.0.0:443", "[::]:443", *ELSEWHERE))
    if late:
        product.start(*HANDOFF)
        assert_challenges_reach(responder, network)
    lead_to_own_port(network, how)
    visitors = send_visitors(web)
    if late:
        # An established connection shows nothing; a rule is seen in a second.
        wait_until(lambda: challenges_pass(responder, network), SOON)
    else:
        product.start(*HANDOFF)
    assert_served(network, product, responder, web, visitors)
    web.stop()


def challenges_pass(responder, network):
    try:
        assert_challenges_reach(responder, network)
        return True
    except (AssertionError, OSError):
        return False


class Pod:
    """nginx as @site has it, in a namespace on the server's bridge."""

    def __init__(self, network, site, number):
        self.address = f"172.17.0.{number}"
        self.network = network
        self.namespace = Namespace(f"pod{number}")
        network.namespaces.append(self.namespace)
        link(network.server, f"pod{number}", self.namespace, "eth0")
        network.server.run("ip", "link", "set", f"pod{number}", "master",
                           "bridge")
        add_address(self.namespace, "eth0", f"{self.address}/24")
        self.namespace.run("ip", "route", "add", "default", "via",
                           Network.BRIDGE[4])
        self.process = self.namespace.popen("nginx", "-c", site.configuration)
        wait_until(lambda: self.namespace.listening(443), what="nginx")

    def remove(self):
        """As an engine does, its wire first."""
        self.process.kill()
        self.process.wait(60)
        self.namespace.run("ip", "link", "delete", "eth0")
        self.network.namespaces.remove(self.namespace)
        self.namespace.remove()
        # An engine's next one with the same address announces itself.
        self.network.server.run("ip", "neighbour", "flush", "dev", "bridge")


def make_bridge(network):
    server = network.server
    server.sysctl("net.ipv4.ip_forward", 1)
    server.sysctl("net.ipv6.conf.all.forwarding", 1)
    server.run("ip", "link", "add", "name", "bridge", "type", "bridge")
    server.run("ip", "link", "set", "bridge", "up")
    for family, length in Network.LENGTH.items():
        add_address(server, "bridge", f"{Network.BRIDGE[family]}/{length}")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("port", [443, 8443])
def test_to_a_container(port, late, network, product, responder, tmp_path,
                        send_visitors):
    container = network.add_container()
    web = WebServer(container, tmp_path, listen=("0.0.0.0:443", "[::]:443",
                                                 *ELSEWHERE))
    if late:
        other = WebServer(network.server, tmp_path, "other.example.test")
        product.start(*HANDOFF)
        assert_challenges_reach(responder, network)
    publish(network, port)
    visitors = send_visitors(web)
    if late:
        wait_until(lambda: challenges_pass(responder, network), SOON)
        other.stop()
    else:
        product.start(*HANDOFF)
    assert_served(network, product, responder, web, visitors)
    web.stop()


def publish(network, port=443, addresses=Network.CONTAINER):
    for family, command in ((4, "iptables"), (6, "ip6tables")):
        address = addresses[family]
        target = f"[{address}]:{port}" if family == 6 else f"{address}:{port}"
        network.server.run(command, "-t", "nat", "-A", "PREROUTING", "-p",
                           "tcp", "-m", "addrtype", "--dst-type", "LOCAL",
                           "--dport", 443, "-j", "DNAT", "--to-destination",
                           target)


@pytest.mark.parametrize("way", [[], [WITHOUT_TCX]], ids=["tcx", "clsact"])
def test_two_ports_of_a_container(way, network, product, responder, tmp_path):
    """Each behind an address of the host's own: there are two programs on one
    device, of which none is in the other's way."""
    container = network.add_container()
    web = WebServer(container, tmp_path, listen=("0.0.0.0:443",
                                                 "0.0.0.0:8443"))
    before = residue.snapshot(container)
    for address, port in zip(BOTH, (443, 8443)):
        network.server.run("iptables", "-t", "nat", "-A", "PREROUTING", "-p",
                           "tcp", "-d", address, "--dport", 443, "-j", "DNAT",
                           "--to-destination",
                           f"{Network.CONTAINER[4]}:{port}")
    product.start(*HANDOFF, by=way)
    wait_until(lambda: pods_attached(product) == 2, SOON)
    for _ in range(3):
        assert_challenges_reach(responder, network, BOTH)
    assert "taken our program off" not in product.log_text()
    product.stop()
    product.wait_gone()
    assert " 0 to the web server" in product.log_text()
    assert residue.snapshot(container) == before
    web.stop()


def challenge_reaches(responder, network, address):
    """One over IPv4."""
    challenge = hello.hello(hello.alpn(hello.ACME))
    with contextlib.suppress(OSError):
        with network.authority.connect(address, 443) as connection:
            connection.sendall(challenge)
            return connection.recv(100) == responder.greeting
    return False


def balance_by_iptables(network, pods):
    """As kube-proxy does it."""
    rules = ["*nat", ":PREROUTING ACCEPT", ":KUBE-SERVICES -", ":KUBE-SVC-A -",
             "-A PREROUTING -j KUBE-SERVICES",
             "-A KUBE-SERVICES -p tcp -m addrtype --dst-type LOCAL "
             "-m tcp --dport 443 -j KUBE-SVC-A"]
    for left, pod in zip(range(len(pods), 0, -1), pods):
        chance = (f"-m statistic --mode random --probability {1 / left:.5f}"
                  if left > 1 else "")
        rules += [f":KUBE-SEP-{left} -",
                  f"-A KUBE-SVC-A {chance} -j KUBE-SEP-{left}",
                  f"-A KUBE-SEP-{left} -p tcp -m tcp -j DNAT "
                  f"--to-destination {pod.address}:443"]
    # Chains come first.
    rules.sort(key=lambda rule: (rule[0] != "*", rule[0] != ":"))
    text = "\\n".join([*rules, "COMMIT", ""])
    network.server.run("sh", "-c", f"printf '{text}' | iptables-restore")


def balance_by_nft(network, pods):
    """In turn."""
    targets = ", ".join(f"{number} : {pod.address}"
                        for number, pod in enumerate(pods))
    network.server.run(
        "nft", "table ip pods {}; flush table ip pods; table ip pods { chain "
        "pre { type nat hook prerouting priority dstnat; fib daddr type local "
        f"tcp dport 443 dnat to numgen inc mod {len(pods)} map {{ {targets} }}"
        "; }; }")


def held_networks(product):
    """The namespaces that the supervisor has a descriptor of."""
    device = os.stat("/proc/self/ns/net").st_dev
    held = []
    for entry in os.scandir(f"/proc/{product.supervisor()}/fd"):
        with contextlib.suppress(OSError):
            held.append(os.stat(entry.path))
    return [one.st_ino for one in held if one.st_dev == device]


def pods_attached(product):
    return product.succeed("status").stdout.count("eth0 in /")


@pytest.mark.parametrize("balance", [balance_by_iptables, balance_by_nft])
def test_pods_that_come_and_go(balance, network, product, responder, tmp_path,
                               visitors_tool):
    """Behind one port, under the eyes of visitors."""
    site = Site(tmp_path, "pods.example.test")
    make_bridge(network)
    address = Network.SERVER_FOR_AUTHORITY[4]
    pods = [Pod(network, site, 2)]
    balance(network, pods)
    visitors = Visitors(visitors_tool, network.client, Network.SERVER[4], site,
                        tmp_path, rate=50)
    product.start(*HANDOFF)
    taken = 0

    def assert_taken(count):
        for _ in range(count):
            assert challenge_reaches(responder, network, address)
        return count

    taken += assert_taken(3)
    for number in (3, 4):
        pods.append(Pod(network, site, number))
    balance(network, pods)
    wait_until(lambda: pods_attached(product) == 3, SOON)
    taken += assert_taken(20)
    # Replaced by one that has the same address.
    gone = pods.pop(0)
    balance(network, pods)
    taken += assert_taken(10)
    # What is established there ends first.
    wait_until(lambda: not gone.namespace.run(
        "ss", "-Htn", "state", "established").stdout)
    gone.remove()
    wait_until(lambda: len(held_networks(product)) == 2, SOON)
    pods.append(Pod(network, site, 2))
    balance(network, pods)
    wait_until(lambda: pods_attached(product) == 3, SOON)
    taken += assert_taken(20)
    visitors.wait_for_more(30)
    visitors.finish_without_failures()
    # All of them vanish without a word.
    for pod in pods:
        pod.remove()
    wait_until(lambda: not held_networks(product), SOON)
    product.stop()
    product.wait_gone()
    assert (f"done: {taken} connections, {taken} to the ACME responder, 0 to "
            "the web server") in product.log_text()


def test_network_that_vanishes_in_mid_move(network, product, responder,
                                           tmp_path):
    """Under a stream of challenges; the next one is served all the same."""
    site = Site(tmp_path, "pods.example.test")
    make_bridge(network)
    address = Network.SERVER_FOR_AUTHORITY[4]
    product.start(*HANDOFF)
    for _ in range(4):
        pod = Pod(network, site, 2)
        balance_by_iptables(network, [pod])
        wait_until(lambda: challenge_reaches(responder, network, address))
        challenge = hello.hello(hello.alpn(hello.ACME))
        pending = [network.authority.connect(address, 443) for _ in range(20)]
        for connection in pending:
            connection.sendall(challenge)
        pod.remove()
        for connection in pending:
            connection.close()
        wait_until(lambda: not held_networks(product), SOON)
    assert len(product.workers()) == 1
    product.stop()


@pytest.mark.parametrize("by_pid", [False, True], ids=["name", "pid"])
def test_guest_that_is_named(by_pid, network, product, responder, tmp_path):
    """With an address of its own, to which no NAT leads."""
    site = Site(tmp_path, "guest.example.test")
    make_bridge(network)
    pod = Pod(network, site, 2)
    name = (str(pod.process.pid) if by_pid
            else f"/run/netns/{pod.namespace.name}")
    assert not challenge_reaches(responder, network, pod.address)
    product.start(*HANDOFF, "--netns", name)
    assert challenge_reaches(responder, network, pod.address)
    held = held_networks(product)
    assert held == [pod.namespace.inode]
    assert f"eth0 in /" in product.succeed("status").stdout
    pod.remove()
    wait_until(lambda: not held_networks(product), SOON)
    product.stop()


@pytest.fixture
def machine(network):
    """Behind a router, so that no device of the host's leads into it."""
    router = network.add_container()
    made = Namespace("machine")
    network.namespaces.append(made)
    link(router, "machine", made, "eth0")
    router.sysctl("net.ipv4.ip_forward", 1)
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    for family, address in MACHINE.items():
        prefix = address.rstrip("2")
        length = Network.LENGTH[family]
        gateway = f"{prefix}1"
        add_address(router, "machine", f"{gateway}/{length}")
        add_address(made, "eth0", f"{address}/{length}")
        made.run("ip", "route", "add", "default", "via", gateway)
        network.server.run("ip", "route", "add", address, "via",
                           Network.CONTAINER[family])
    return made


def test_target_on_another_machine(network, product, responder, tmp_path,
                                   machine, send_visitors):
    """
    Nobody can be in its network, and there is no way by eBPF, as is told: an
    iptables rule goes before the one that leads there.
    """
    web = WebServer(machine, tmp_path)
    publish(network, addresses=MACHINE)
    visitors = send_visitors(web)
    visitors.wait_for_more(30)
    fallback = ("--fallback", f"{MACHINE[4]}:443")
    result = product.run("start", "--daemon", "--redirect=steer", *fallback)
    assert result.returncode == 1
    assert "--iptables with -fallback" in result.stdout
    product.start("--iptables", *fallback)
    for _ in range(3):
        assert_challenges_reach(responder, network)
    wait_until(lambda: status(product)["to_fallback"] > 30)
    product.stop()
    visitors.wait_for_more(30, "own_address")
    visitors.finish_without_failures()
    product.wait_gone()
    web.stop()


def test_target_that_cannot_be_found(network, product):
    """A virtual machine, say: what is missing is told once."""
    network.server.sysctl("net.ipv4.ip_forward", 1)
    network.server.run("iptables", "-t", "nat", "-A", "PREROUTING", "-p",
                       "tcp", "--dport", 443, "-j", "DNAT",
                       "--to-destination", "192.0.2.200:8443")
    product.start(*HANDOFF)
    message = "leads to 192.0.2.200 port 8443"
    wait_until(lambda: message in product.log_text())
    assert "hostPID" in product.log_text()
    # Nor could its visitors be proxied: nothing is touched.
    assert status(product)["mode"] == "handoff"
    assert "steering does not work here either" in product.log_text()
    product.stop()
    assert product.log_text().count(message) == 1
