# SPDX-License-Identifier: MIT
"""
Only the CA's connections are taken; visitors, and the web server, are as they
would be without us. HANDOFF_ROUNDS in the environment makes what goes on at a
rate so many times as long.
"""

import collections
import contextlib
import json
import os
import re
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import hello, residue
from harness.acme import Authority, Client
from harness.capture import Capture
from harness.challenge import assert_challenges_reach
from harness.faults import Tracer
from harness.namespace import add_address, wait_until
from harness.network import Network
from harness.product import WITHOUT_TCX
from harness.recorder import Recorder
from harness.visitors import LongVisitor
from harness.webserver import WebServer
from harness.worker_load import descriptors, many_descriptors

ROUNDS = int(os.environ.get("HANDOFF_ROUNDS", 1))
CHALLENGE = hello.hello(hello.alpn(hello.ACME))
VISIT = hello.hello(hello.alpn(b"http/1.1"))
CA = Network.SERVER_FOR_AUTHORITY[4]
# The lease ends 1.2 s after its last renewal.
LEASE_SECONDS = 2


class Site:
    """Two sockets of a web server that says "web", and keeps what it read."""

    def __init__(self, namespace, port=443):
        self.recorders = [Recorder(namespace, "web", port, address,
                                   listens_first=True)
                          for address in ("0.0.0.0", "::")]
        self.greeting = self.recorders[0].greeting

    def visitor(self):
        """The address of the one who came next, beside challenges that were
        taken away."""
        while True:
            recording = self.recorders[0].next()
            if recording.data == VISIT:
                return recording.peer

    def stop(self):
        for recorder in self.recorders:
            recorder.stop()


@pytest.fixture
def site(network):
    made = Site(network.server)
    yield made
    made.stop()


def ask(namespace, address=CA, data=CHALLENGE, source_port=0):
    """Who answers @data?"""
    with namespace.connect(address, 443,
                           source_port=source_port) as connection:
        connection.sendall(data)
        return connection.recv(100)


def report(product):
    return json.loads(product.succeed("status", "--json").stdout)


def counted(product, name):
    """On all interfaces."""
    return sum(interface[name] for interface in report(product)["interfaces"])


def wait_for_mode(product, mode):
    wait_until(lambda: report(product)["mode"] == mode, what=f"mode {mode}")


def finish_untouched(visitors):
    """Every visitor was served, and seen by his own address."""
    totals = visitors.finish_without_failures()
    assert totals["own_address"] == totals["visits"], totals


# ---- Challenges amid visitors


def test_certificates_amid_visitors(network, product, send_visitors, tmp_path):
    """One proxy for one responder: the five orders come one after another,
    each with validations from several places at once."""
    authority = Authority(network, tmp_path, 4)
    visitors = send_visitors(rate=200)
    visitors.wait_for_more(50)
    product.start()
    try:
        for number in range(1, 1 + 5 * ROUNDS):
            folder = tmp_path / f"client{number}"
            folder.mkdir()
            name = f"host{number}.example.test"
            issued = Client(network.server, folder, authority).issue(name)
            assert issued.names == [name]
    finally:
        authority.stop()
    told = report(product)
    assert told["accepted"] == told["to_alpn"] == told["moves"]["moved"] >= 5
    assert counted(product, "visitors") > 50
    product.stop()
    visitors.wait_for_more(50)
    finish_untouched(visitors)


def test_five_at_once_amid_visitors(family, network, product, responder,
                                    send_visitors):
    """As from a CA's five places, again and again."""
    visitors = send_visitors(rate=100)
    product.start()
    bursts = 20 * ROUNDS
    with ThreadPoolExecutor(5) as places:
        for _ in range(bursts):
            answers = list(places.map(
                lambda _: ask(network.authority,
                              Network.SERVER_FOR_AUTHORITY[family]), range(5)))
            assert answers == 5 * [responder.greeting]
            # A network may have 100 at once, and 10 a second.
            time.sleep(0.5 if ROUNDS > 1 else 0)
    told = report(product)
    assert told["accepted"] == told["to_alpn"] == 5 * bursts
    assert told["moves"]["moved"] == 5 * bursts
    assert told["moves"]["move_failed"] == 0
    finish_untouched(visitors)


class Ending(Recorder):
    """Is the first to close, so that the server's end has to wait."""

    def _record(self, connection, peer):
        with connection, contextlib.suppress(ConnectionResetError):
            connection.recv(65536)
            connection.sendall(self.greeting)


class Lingering(Ending):
    """Closes once it is told to."""

    def _record(self, connection, peer):
        with connection:
            connection.recv(65536)
            connection.sendall(self.greeting)
            connection.recv(100)


def test_ports_that_are_used_again(family, network, product):
    """The server still remembers the one before (TIME_WAIT)."""
    address = Network.SERVER_FOR_AUTHORITY[family]
    web = Ending(network.server, "web", 443, address)
    responder = Ending(network.server, "responder", 31443)
    product.start()
    try:
        for _ in range(10):
            for data, backend in ((CHALLENGE, responder), (VISIT, web)):
                with network.authority.connect(
                        address, 443, source_port=40000) as connection:
                    connection.sendall(data)
                    assert connection.recv(100) == backend.greeting
                    assert connection.recv(100) == b""
        assert "TIME-WAIT" in network.server.run(
            "ss", "-Htan", "sport = :443").stdout
        assert counted(product, "taken") == 10
    finally:
        web.stop()
        responder.stop()


def send_challenges(namespace, source, address, ended, a_second):
    """From one thread; returns how many were sent."""
    sent = 0
    with namespace.entered():
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(
                    (address, 443), 1, (source, 0)) as connection:
                connection.sendall(CHALLENGE)
                connection.recv(1)
            sent += 1
            time.sleep(1 / a_second)
    return sent


def test_attacker_with_challenges(network, product, responder, send_visitors):
    """He has several networks, and gets no more than their share: not the
    visitors', nor the CA's."""
    networks = [f"203.0.{number}.2" for number in range(8)]
    for source in networks:
        add_address(network.client, "server", f"{source}/32")
    network.server.run("ip", "route", "add", "203.0.0.0/16", "via",
                       Network.CLIENT[4])
    visitors = send_visitors(rate=50)
    product.start()
    began = time.monotonic()
    ended = threading.Event()
    asked = 0
    with ThreadPoolExecutor(len(networks)) as attackers:
        attacks = [attackers.submit(send_challenges, network.client, source,
                                    Network.SERVER[4], ended, 100)
                   for source in networks]
        try:
            while asked < 40 * ROUNDS or not counted(product, "limited"):
                assert ask(network.authority) == responder.greeting
                asked += 1
                time.sleep(0.1)
        finally:
            ended.set()
    print(sum(attack.result() for attack in attacks), "were sent")
    told = report(product)
    # A network has 100 at once and 10 a second.
    assert told["moves"]["moved"] - asked <= len(networks) * (
        100 + 10 * (time.monotonic() - began))
    assert told["mode"] == "handoff"
    finish_untouched(visitors)


def test_attacker_with_networks_without_number(network, product, responder,
                                               web, tools):
    """All of them together have no more than a tenth of a core."""
    own = "192.1.0.0/16"
    network.client.run("ip", "route", "add", "local", own, "dev", "lo")
    network.server.run("ip", "route", "add", own, "via", Network.CLIENT[4])
    product.start()
    began = time.monotonic()
    with many_descriptors():
        network.client.run(tools / "load", f"{Network.SERVER[4]}:443",
                           "attack", 1000, 3000, 250)
    seconds = time.monotonic() - began
    # 400 at once and 200 a second.
    assert 0 < report(product)["moves"]["moved"] <= 400 + 200 * (seconds + 1)


@pytest.mark.parametrize("name", ["www.example.test", "*.example.test"])
def test_challenges_for_other_names_stay(name, network, product, responder,
                                         site):
    """The web server may answer challenges of its own, and is not proxied."""
    other = hello.record(hello.message(hello.body([
        hello.server_name(b"www.other.test"), *hello.common_extensions(),
        hello.alpn(hello.ACME)])))
    nameless = hello.record(hello.message(hello.body([
        *hello.common_extensions(), hello.alpn(hello.ACME)])))
    product.start("--domain", name)
    assert ask(network.authority) == responder.greeting
    for data in (other, nameless):
        assert ask(network.authority, data=data) == site.greeting
    assert (counted(product, "taken"), counted(product, "other_name")) == (1, 2)
    assert report(product)["accepted"] == 1
    product.stop()


# ---- What a visitor's packets look like


def in_pieces(data, *sizes):
    def play(connection):
        start = 0
        for size in (*sizes, len(data)):
            connection.sendall(data[start:start + size])
            start += size
            time.sleep(0.05)
        assert connection.recv(100) == b"web\n"
    return play


def half_close(connection):
    connection.sendall(VISIT)
    assert connection.recv(100) == b"web\n"
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(100) == b""


def reset(connection):
    connection.sendall(VISIT)
    assert connection.recv(100) == b"web\n"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, 0))


SCRIPTS = {
    "whole": in_pieces(VISIT),
    "byte-first": in_pieces(VISIT, 1),
    "header-first": in_pieces(VISIT, 5),
    "in-three": in_pieces(VISIT, 60, 70),
    "large": in_pieces(hello.hello(hello.key_share(
        (hello.X25519MLKEM768, 1216)), hello.extension(
            hello.PADDING, bytes(3000)), hello.alpn(b"h2")), 1400, 1400, 1400),
    "no-tls": in_pieces(b"GET / HTTP/1.0\r\n\r\n"),
    "half-close": half_close,
    "reset": reset,
    "silent": lambda connection: time.sleep(0.1),
}


def captured(network, capture, address):
    """The packets of each script, played once."""
    ports = {}
    for name, play in SCRIPTS.items():
        with network.client.connect(address, 443) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ports[name] = connection.getsockname()[1]
            time.sleep(0.05)
            play(connection)
        time.sleep(0.05)
    seen = capture.connections()
    return {name: tuple(seen[port]) for name, port in ports.items()}


def said(packets):
    """What each side says; when the kernel acknowledges depends a little on
    the moment, and on a busy machine what it says twice."""
    return tuple(tuple(dict.fromkeys(
        (packet.flags, packet.sequence, packet.length) for packet in packets
        if packet.from_client == from_client and
        (packet.length or packet.flags != "A")))
                 for from_client in (True, False))


def test_packets_of_visitors_are_the_same(family, network, product, responder,
                                          site):
    """
    With and without us each side says the same, every time; and to the packet,
    with its numbers and in its order, in one of a few times at least.
    """
    capture = Capture(network.client)
    address = Network.SERVER[family]

    def play(times):
        found = [captured(network, capture, address) for _ in range(times)]
        return {name: {one[name] for one in found} for name in SCRIPTS}

    without = play(3)
    product.start()
    assert_challenges_reach(responder, network)
    present = play(3)
    assert counted(product, "visitors") >= 3 * 6
    product.stop()
    for _ in range(3):
        if all(present[name] & without[name] for name in SCRIPTS):
            break
        for name, more in play(3).items():
            without[name] |= more
    capture.close()
    for name in SCRIPTS:
        assert present[name] & without[name], name
        assert set(map(said, present[name])) <= set(
            map(said, without[name])), name
        assert all(len(packets) > 4 for packets in present[name])


# ---- Deaths


@pytest.fixture(params=["tcx", "clsact"])
def way(request):
    return request.param


def start_by(way, product):
    product.start("--redirect=handoff",
                  by=[WITHOUT_TCX] if way == "clsact" else [])
    assert {interface["attached_by"]
            for interface in report(product)["interfaces"]} == {way}


def programs(network):
    """How many are on each device."""
    (shown,) = json.loads(network.server.run("bpftool", "-j", "net",
                                             "show").stdout)
    found = collections.Counter(residue.tcx_programs(network.server))
    found.update(entry["devname"] for entry in shown["tc"])
    return found


# What answers once the lease is over.
AFTERWARDS = {
    ("supervisor", "SIGKILL"): {b"web\n"},
    ("supervisor", "SIGSTOP"): {b"web\n"},
    ("worker", "SIGKILL"): {b"responder\n"},
    # The supervisor puts another in its place after a while.
    ("worker", "SIGSTOP"): {b"web\n", b"responder\n"},
}


@pytest.mark.parametrize("victim, sent", AFTERWARDS,
                         ids=lambda word: word.lower())
def test_nobody_is_taken_whom_nobody_would_serve(
        victim, sent, way, network, product, responder, site):
    clean = residue.snapshot(network.server)
    start_by(way, product)
    assert_challenges_reach(responder, network)
    pid = product.supervisor() if victim == "supervisor" else product.worker()
    os.kill(pid, getattr(signal, sent))
    # Visitors do not even notice the moment itself.
    end = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < end:
        assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting
        time.sleep(0.02)
    wait_until(lambda: ask(network.authority) in AFTERWARDS[victim, sent])
    answers = {ask(network.authority) for _ in range(20)}
    assert answers <= AFTERWARDS[victim, sent]

    product.kill_all()
    start_by(way, product)
    assert programs(network) == {"authority": 1, "client": 1}
    assert ask(network.authority) == responder.greeting
    product.kill_all()
    product.stop()
    assert not programs(network)
    wait_until(lambda: residue.snapshot(network.server) == clean,
               what="a clean host")


def test_stop_does_not_wait(way, network, product, responder, site):
    """There are no visitors whose handshakes would have to end first; an
    open challenge goes on."""
    start_by(way, product)
    with network.authority.connect(CA, 443) as connection:
        connection.sendall(CHALLENGE)
        assert connection.recv(100) == responder.greeting
        began = time.monotonic()
        product.stop()
        # By steering it is 3 s and more.
        assert time.monotonic() - began < 3
        assert not programs(network)
        assert ask(network.authority) == site.greeting
        connection.sendall(b"more")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert responder.next().data == CHALLENGE + b"more"
    product.wait_gone()


def test_supervisor_that_is_away_for_a_while(network, product, responder,
                                             site):
    """What was taken at that moment may fail; nothing of it stays."""
    product.start()
    assert_challenges_reach(responder, network)
    supervisor = product.supervisor()
    before = descriptors(supervisor)
    os.kill(supervisor, signal.SIGSTOP)

    def challenge(_):
        with contextlib.suppress(OSError):
            return ask(network.authority)

    with ThreadPoolExecutor(30) as places:
        answers = places.map(challenge, range(300))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert ask(network.client, Network.SERVER[4],
                       VISIT) == site.greeting
        os.kill(supervisor, signal.SIGCONT)
        assert set(answers) <= {site.greeting, responder.greeting, b"", None}
    wait_until(lambda: challenge(0) == responder.greeting,
               what="a challenge that is taken again")
    wait_until(lambda: "21443" not in network.server.run(
        "ss", "-Htn", "sport = :443 or dport = :443").stdout,
        what="the end of all")
    assert report(product)["mode"] == "handoff"
    wait_until(lambda: descriptors(supervisor) <= before,
               what="the end of all sockets")
    product.stop()
    product.wait_gone()


def test_worker_that_is_dead_at_that_moment(network, product, responder, site):
    product.start()
    assert_challenges_reach(responder, network)
    for _ in range(5):
        product.kill(product.worker())
        with contextlib.suppress(OSError):
            assert ask(network.authority) in (site.greeting,
                                              responder.greeting, b"")
        assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting
        wait_until(lambda: len(product.workers()) == 1 and
                   ask(network.authority) == responder.greeting,
                   what="a challenge that is taken again")
    assert report(product)["mode"] == "handoff"


def test_worker_that_is_long_in_coming(network, product, responder, site,
                                       tmp_path):
    """The other one has all challenges meanwhile."""
    product.start("--workers", "2")
    assert_challenges_reach(responder, network)
    tracer = Tracer(product.supervisor(), tmp_path / "calls", "-f", "-e",
                    "trace=setsid", "-e",
                    "inject=setsid:delay_enter=3000000")
    product.kill(product.workers()[0])
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert ask(network.authority) == responder.greeting
        time.sleep(0.1)
    wait_until(lambda: ": replaced one that died" in product.log_text(),
               what="another worker")
    tracer.stop()
    assert report(product)["moves"]["move_failed"] == 0
    product.stop()


def test_no_descriptor_for_a_challenge(network, product, responder, site,
                                       tmp_path):
    """It is lost, as it is told; later ones are not."""
    product.start()

    def lose_it():
        """Unless the supervisor was about to look who listens."""
        tracer = Tracer(product.supervisor(), tmp_path / "calls", "-e",
                        "trace=socket", "-e",
                        "inject=socket:error=EMFILE:when=1")
        with contextlib.suppress(ConnectionResetError):
            assert ask(network.authority) in (site.greeting,
                                              responder.greeting)
        assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting
        assert ask(network.authority) == responder.greeting
        tracer.stop()
        return re.search("AF_INET.*INJECTED", (tmp_path / "calls").read_text())

    wait_until(lose_it, what="a challenge that is lost")
    assert "a challenge was lost: Too many open files" in product.log_text()
    told = report(product)
    assert told["mode"] == "handoff"
    assert told["moves"]["move_failed"] == 1
    product.stop()


# ---- The web server comes and goes


def test_web_server_restarts(network, product, tmp_path):
    """While a challenge is open, while it ends, and just after."""
    web = WebServer(network.server, tmp_path)
    responder = Lingering(network.server, "responder", 31443)
    product.start()

    def restart(number):
        nonlocal web
        web.stop()
        web = WebServer(network.server, tmp_path, f"www{number}.example.test")
        visitor = LongVisitor(network.client, Network.SERVER[4], web)
        visitor.visit()
        visitor.close()
        # It has perhaps been away for long enough.
        wait_for_mode(product, "handoff")

    with network.authority.connect(CA, 443) as connection:
        connection.sendall(CHALLENGE)
        assert connection.recv(100) == responder.greeting
        restart(1)
        connection.sendall(b"end")
        # The responder has ended, the client has not: FIN-WAIT.
        wait_until(lambda: "FIN-WAIT" in network.server.run(
            "ss", "-Htan", "sport = :443").stdout, what="FIN-WAIT")
        restart(2)
        assert connection.recv(100) == b""
    wait_until(lambda: "TIME-WAIT" in network.server.run(
        "ss", "-Htan", "sport = :443").stdout, what="TIME-WAIT")
    restart(3)
    assert ask(network.authority) == responder.greeting
    product.stop()
    web.stop()
    responder.stop()


def test_steering_stands_in_while_nobody_listens(network, product, responder):
    """As on a mail host, or where a hook stops the web server."""
    product.start()
    told = report(product)
    assert (told["redirect"], told["mode"]) == ("handoff", "steer")
    assert told["why"] == "nobody listens on the port"
    assert "not handoff, because nobody listens" in product.succeed(
        "status").stdout
    for _ in range(2):
        assert_challenges_reach(responder, network)
        site = Site(network.server)
        wait_for_mode(product, "handoff")
        assert_challenges_reach(responder, network)
        assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting
        assert site.visitor() == Network.CLIENT[4]
        site.stop()
        wait_for_mode(product, "steer")
    assert product.log_text().count("nobody listens on the port: ") == 3
    product.stop()
    product.wait_gone()


def test_drain_heeds_what_it_is_told(network, product, responder, tmp_path):
    """What changes meanwhile wakes it once, also where steering stood in."""
    product.start(by=[WITHOUT_TCX])
    assert report(product)["mode"] == "steer"
    supervisor = product.supervisor()
    with network.authority.connect(Network.SERVER[4], 443) as connection:
        connection.sendall(CHALLENGE)
        assert connection.recv(100) == responder.greeting
        product.stop()
        network.server.run("nft", "add table inet other")
        network.server.run("ip", "address", "add", "198.51.100.9", "dev", "lo")
        tracer = Tracer(supervisor, tmp_path / "calls", "-e", "trace=poll")
        time.sleep(2)
        tracer.stop()
    assert 1 <= (tmp_path / "calls").read_text().count("poll(") < 50
    product.wait_gone()


def test_who_listens_is_looked_for_once_a_turn(network, product, responder,
                                               site, tmp_path):
    product.start()
    began = time.monotonic()
    tracer = Tracer(product.supervisor(), tmp_path / "calls", "-e",
                    "trace=socket")
    time.sleep(3)
    tracer.stop()
    looks = (tmp_path / "calls").read_text().count("NETLINK_SOCK_DIAG")
    # In both families, and no more often than every 400 ms.
    assert 2 <= looks <= 2 * ((time.monotonic() - began) / 0.4 + 1)
    product.stop()


DROP_RESETS = ("add table inet t; add chain inet t input "
               "{ type filter hook input priority 0; }; "
               "add rule inet t input iif != lo tcp flags & rst == rst drop")


def test_firewall_that_drops_resets(network, product, responder, site):
    """The first challenge is the web server's; from then on it is steered."""
    network.server.run("nft", DROP_RESETS)
    product.start()
    assert ask(network.authority) == site.greeting
    wait_for_mode(product, "steer")
    told = report(product)
    assert "firewall" in told["why"] and "RST" in told["why"]
    assert told["why"] in product.log_text()
    assert_challenges_reach(responder, network)
    assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting
    product.stop()
    product.wait_gone()


def test_firewall_that_drops_resets_where_visitors_cannot_be_proxied(
        network, product, responder):
    """Better no challenges than no visitors."""
    network.server.run("nft", DROP_RESETS)
    web = Recorder(network.server, "web", 443, Network.SERVER[4],
                   listens_first=True)
    product.start()
    assert ask(network.client, Network.SERVER[4]) == web.greeting
    wait_until(lambda: "-fallback" in product.log_text(),
               what="what to do about it")
    assert report(product)["mode"] == "handoff"
    for data in (VISIT, CHALLENGE, VISIT):
        assert ask(network.client, Network.SERVER[4], data) == web.greeting
    product.stop()
    web.stop()


def test_firewall_that_drops_all_resets(network, product, responder, site):
    """The trial at start meets it, before a challenge does."""
    network.server.run("nft", DROP_RESETS.replace("iif != lo ", ""))
    product.start()
    assert report(product)["redirect"] == "steer"
    assert re.search("handoff does not work here: .*: a firewall",
                     product.log_text())
    assert_challenges_reach(responder, network)
    product.stop()
    product.wait_gone()


def test_firewall_that_closes_loopback(network, product, site):
    """No trial can be made, and no responder be reached: it is told soon."""
    network.server.run("nft", "add table inet t; " + chain("output", "drop") +
                       "add rule inet t output tcp sport 443 "
                       "ct state established accept")
    result = product.run("start", "--daemon", "--redirect=handoff")
    assert result.returncode == 1
    assert "loopback" in result.stdout
    assert ask(network.client, Network.SERVER[4], VISIT) == site.greeting


# ---- Hosts on which a proxy would be noticed


@contextlib.contextmanager
def rules(network, text):
    network.server.run("nft", "add table inet t; " + text)
    try:
        yield
    finally:
        network.server.run("nft", "delete table inet t")


def chain(hook, policy):
    return (f"add chain inet t {hook} {{ type filter hook {hook} priority 0; "
            f"policy {policy}; }}; add rule inet t {hook} meta l4proto "
            "ipv6-icmp accept; ")


FIREWALLS = {
    "by-source": chain("input", "accept") +
    "add rule inet t input tcp dport 443 ip saddr 192.0.2.0/24 drop; "
    "add rule inet t input tcp dport 443 ip6 saddr 2001:db8:1::/64 reject",
    "by-number": chain("input", "accept") +
    "add set inet t many { type ipv4_addr; size 99; flags dynamic; }; "
    "add rule inet t input tcp dport 443 tcp flags syn add @many "
    "{ ip saddr ct count over 2 } reject with tcp reset",
    "output": chain("output", "drop") +
    "add rule inet t output oif lo accept; "
    "add rule inet t output tcp sport 443 ct state established accept",
    "stateful": chain("input", "drop") +
    "add rule inet t input iif lo accept; "
    "add rule inet t input ct state established accept; "
    "add rule inet t input tcp dport 443 ct state new accept",
}


def outcome(namespace, address, site):
    """What becomes of one more visitor while two others are there."""
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            with contextlib.suppress(OSError):
                other = stack.enter_context(
                    namespace.connect(address, 443, timeout=2))
                other.sendall(VISIT)
                other.recv(100)
        try:
            with namespace.connect(address, 443, timeout=2) as connection:
                connection.sendall(VISIT)
                return connection.recv(100)
        except OSError as error:
            return type(error).__name__


def outcomes(network, site):
    places = [(network.client, address) for address in Network.SERVER.values()]
    places += [(network.authority, address)
               for address in Network.SERVER_FOR_AUTHORITY.values()]
    found = [outcome(*place, site) for place in places]
    for recorder in site.recorders:
        seen = set()
        while not recorder.idle:
            seen.add(recorder.next().peer.removeprefix("::ffff:"))
        assert seen <= {*Network.CLIENT.values(), *Network.AUTHORITY.values()}
    return found


@pytest.mark.parametrize("name", FIREWALLS)
def test_firewall_sees_visitors_as_they_are(name, network, product, site):
    with rules(network, FIREWALLS[name]):
        before = outcomes(network, site)
        assert site.greeting in before or name == "by-number", before
        product.start()
        assert outcomes(network, site) == before
        product.stop()
        product.wait_gone()


def test_web_server_that_is_bound_to_a_device(network, product, responder):
    web = Recorder(network.server, "web", 443, "0.0.0.0", listens_first=True,
                   device="authority")
    product.start()
    assert ask(network.authority) == responder.greeting
    assert ask(network.authority, data=VISIT) == web.greeting
    with pytest.raises(ConnectionRefusedError):
        ask(network.client, Network.SERVER[4], VISIT)
    assert report(product)["mode"] == "handoff"
    product.stop()
    web.stop()


def test_answers_that_are_routed_by_their_source(network, product, responder,
                                                 site):
    """An address of the service's own, with its own way out."""
    service = "203.0.113.80"
    server = network.server
    server.run("ip", "address", "add", service, "dev", "lo")
    server.run("ip", "rule", "add", "from", service, "lookup", 100)
    server.run("ip", "route", "add", "default", "via", Network.AUTHORITY[4],
               "table", 100)
    # Only by that route; the others' addresses have none.
    network.authority.run("ip", "address", "add", "203.0.113.9/32", "dev",
                          "lo")
    network.authority.run("ip", "route", "add", service, "via", CA, "src",
                          "203.0.113.9")
    assert ask(network.authority, service, VISIT) == site.greeting
    product.start()
    assert ask(network.authority, service, VISIT) == site.greeting
    assert ask(network.authority, service) == responder.greeting
    product.stop()


def test_port_that_is_redirected_within_the_host(network, product, responder):
    """The web server itself has no right to the port."""
    site = Site(network.server, 8443)
    with rules(network, "add chain inet t pre { type nat hook prerouting "
               "priority dstnat; }; add rule inet t pre tcp dport 443 "
               "redirect to :8443"):
        product.start()
        assert report(product)["mode"] == "handoff"
        for address in Network.SERVER.values():
            assert ask(network.client, address, VISIT) == site.greeting
        assert_challenges_reach(responder, network)
        product.stop()
        product.wait_gone()
    site.stop()


def test_client_that_sleeps(network, product, responder, site):
    """Longer than a proxy would wait for its hello, and than the lease."""
    product.start("--hello-timeout", "0.5")
    with network.client.connect(Network.SERVER[4], 443) as visitor, \
            network.authority.connect(CA, 443) as challenger:
        visitor.sendall(VISIT[:9])
        challenger.sendall(CHALLENGE[:9])
        time.sleep(3)
        visitor.sendall(VISIT[9:])
        challenger.sendall(CHALLENGE[9:])
        assert visitor.recv(100) == site.greeting
        assert challenger.recv(100) == responder.greeting
    assert site.visitor() == Network.CLIENT[4]
    product.stop()
