# SPDX-License-Identifier: MIT
"""The system calls of a short connection and of a start, counted."""

import re
import socket

import pytest

from harness import hello
from harness.faults import Tracer
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import Recorder

VISITS = 400
HELLO = hello.hello(hello.alpn(b"h2", b"http/1.1"))
ANSWER = hello.noise(1024)
# Of one visit: accept, four reads of which two find an end, socket, connect,
# two writes, a shutdown, one that closes both.
LIMIT = 11
# And two or three times waiting; on a busy machine more, where what comes
# together here comes one by one.
WAITING = 5
# A source address of the visitor's own, in place of a header.
OWN_SOURCE = 2
# Where the client wanted to: conntrack knows, or else the socket.
HEADER = 2
# Ticks, and what a busy machine delays now and then.
STRAY = 0.3


class Fallback(Recorder):
    """Answers each hello, and ends with the answer."""

    def _record(self, connection, peer):
        with connection:
            connection.recv(65536)
            # Answer and end in one segment: what is counted does not depend
            # on who is faster.
            connection.send(ANSWER, socket.MSG_MORE)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)


@pytest.fixture
def fallback(network):
    made = Fallback(network.server, "fallback", 443)
    yield made
    made.stop()


def visit(network, family):
    with network.client.socket(socket.AF_INET if family == 4
                               else socket.AF_INET6) as connection:
        # The handshake's end waits for the hello: both come at once.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        connection.settimeout(10)
        connection.connect((Network.SERVER[family], 443))
        connection.sendall(HELLO)
        answer = b""
        while (more := connection.recv(65536)):
            answer += more
        assert answer == ANSWER


@pytest.fixture
def cost(network, product, fallback, tmp_path):
    """Call it for the calls of one of many visits, one after the other."""
    def count(family):
        output = tmp_path / "calls"
        tracer = Tracer(product.worker(), output, "-f", "-c", "-U",
                        "calls,name")
        for _ in range(VISITS):
            visit(network, family)
        tracer.stop()
        calls = {name: int(number) for number, name in
                 re.findall(r"^ *(\d+) (\w+)$", output.read_text(), re.M)}
        print(calls)
        assert calls["connect"] == VISITS
        waiting = sum(calls.get(name, 0) for name in
                      ("select", "pselect6", "epoll_wait", "epoll_pwait"))
        assert waiting <= WAITING * VISITS
        return (calls["total"] - waiting) / VISITS
    return count


def test_a_short_connection_costs_few_calls(redirect, family, product, cost):
    product.start(f"--redirect={redirect}")
    assert cost(family) <= LIMIT + OWN_SOURCE + STRAY


def test_a_header_costs_no_more_than_two(redirect, family, product, cost):
    product.start(f"--redirect={redirect}", "--proxy-protocol", "v2")
    assert cost(family) <= LIMIT + HEADER + STRAY


def test_a_start_loads_one_steering_program(product, tmp_path):
    """What tells whether it can be loaded is what is used."""
    output = tmp_path / "calls"
    process = product.namespace.popen(
        "strace", "-f", "-qq", "-o", output, "-e", "trace=bpf",
        *product.command("start", "--redirect=steer"), env=product.environment)
    wait_until(lambda: product.run("status").returncode == 0, what="a start")
    product.stop()
    process.wait(60)
    assert len(re.findall(r'BPF_PROG_LOAD.*"acme_alpn_steer".* = \d+$',
                          output.read_text(), re.M)) == 1
