# SPDX-License-Identifier: MIT
"""SIGKILL at any moment: visitors are served, the next command repairs."""

import os
import random
import signal
import time

import pytest

from harness import hello, residue
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.recorder import Recorder
from harness.visitors import LongVisitor

# Moments of each kind at which an instance is killed.
ROUNDS = 6


@pytest.fixture(params=["start", "stop"])
def repair(request, redirect, product):
    """The next command after the kill, which leaves all in good order."""
    def run():
        if request.param == "start":
            product.start(f"--redirect={redirect}")
            assert product.listening()
        product.stop()
    return run


def long_visitors(network, web):
    """One of each family, through the proxy."""
    return [LongVisitor.through_the_proxy(network.client, address, web)
            for address in Network.SERVER.values()]


def assert_nothing_left(product, clean, objects=()):
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean
    residue.wait_bpf_objects_gone(objects)


# The repair by stop is with several workers: see test_workers.py.
@pytest.mark.parametrize("repair", ["start"], indirect=True)
def test_killed_supervisor(redirect, repair, network, product, web,
                           send_visitors, clean):
    visitors = send_visitors()
    product.start(f"--redirect={redirect}")
    objects = product.bpf_objects()
    during = long_visitors(network, web)
    visitors.wait_for_more(50, "through_proxy")

    product.kill(product.supervisor())
    visitors.wait_for_more(100)
    for visitor in during:
        visitor.visit()
    repair()
    for visitor in during:
        visitor.visit()
        visitor.close()
    visitors.wait_for_more(50)
    visitors.finish_without_failures()
    assert_nothing_left(product, clean, objects)


def test_killed_supervisor_opens_the_port_by_itself(product, send_visitors,
                                                    clean):
    """Fail-open: with BPF, nothing has to be run for it."""
    product.start("--redirect=steer")
    objects = product.bpf_objects()
    visitors = send_visitors()
    visitors.wait_for_more(50, "through_proxy")
    product.kill(product.supervisor())
    wait_until(lambda: not product.listening(), what="end of the listeners")
    through_proxy = visitors.totals()["through_proxy"]
    visitors.wait_for_more(100)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == through_proxy
    product.wait_gone()
    product.stop()
    assert_nothing_left(product, clean, objects)


def test_killed_worker_is_replaced(redirect, network, product, web,
                                   send_visitors, clean):
    """It takes its own connections along, and nobody else's."""
    before = LongVisitor(network.client, Network.SERVER[4], web)
    product.start(f"--redirect={redirect}")
    objects = product.bpf_objects()
    during = long_visitors(network, web)
    visitors = send_visitors(rate=50)
    visitors.wait_for_more(10, "through_proxy")
    killed = product.worker()
    product.kill(killed)
    visitors.wait_for_more(50, "through_proxy")
    assert product.worker() != killed
    totals = visitors.finish()
    # Only those that the worker held when it died, of 16 in each family.
    assert totals["reset"] + totals["cut_short"] <= 32, totals
    assert totals["ok"] + totals["reset"] + totals["cut_short"] == totals[
        "visits"], totals
    for visitor in during:
        with pytest.raises((OSError, AssertionError)):
            visitor.visit()
        visitor.close()
    visitors = send_visitors()
    visitors.wait_for_more(50, "through_proxy")
    visitors.finish_without_failures()
    before.visit()
    before.close()
    product.stop()
    assert_nothing_left(product, clean, objects)


@pytest.mark.parametrize("redirect", ["steer"])
def test_all_killed_at_once_with_bpf(repair, product, send_visitors, clean):
    product.start("--redirect=steer", "--workers", "2")
    objects = product.bpf_objects()
    product.kill_all()
    # The kernel closes a dead process's sockets a moment later.
    wait_until(lambda: not product.listening(), what="end of the listeners")
    visitors = send_visitors()
    visitors.wait_for_more(50)
    repair()
    visitors.finish_without_failures()
    assert_nothing_left(product, clean, objects)


@pytest.mark.parametrize("redirect", ["iptables"])
def test_all_killed_at_once_with_iptables(repair, network, product,
                                          send_visitors, clean):
    """Nobody is there for the rule's visitors until the next command."""
    product.start("--iptables", "--workers", "2")
    product.kill_all()
    # The kernel closes a dead process's sockets a moment later.
    wait_until(lambda: not product.listening(), what="end of the listeners")
    for address in Network.SERVER.values():
        with pytest.raises(ConnectionRefusedError):
            network.client.connect(address, 443)
    repair()
    visitors = send_visitors()
    visitors.wait_for_more(50)
    visitors.finish_without_failures()
    assert_nothing_left(product, clean)


def test_stopped_worker_opens_the_port(product, send_visitors):
    """A worker that hangs is as good as dead: its lease runs out."""
    product.start("--redirect=steer")
    worker = product.worker()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2.5)
    visitors = send_visitors()
    visitors.wait_for_more(50)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == 0
    os.kill(worker, signal.SIGCONT)
    product.stop()


def start_duration(product, redirect):
    began = time.monotonic()
    process = product.popen("start", f"--redirect={redirect}")
    product.wait_running()
    duration = time.monotonic() - began
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    return duration


@pytest.fixture
def moments():
    """Random ones; the seed is shown where a test fails."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_supervisor_killed_while_it_starts(redirect, moments, product,
                                           send_visitors, clean):
    duration = start_duration(product, redirect)
    visitors = send_visitors()
    for _ in range(ROUNDS):
        process = product.popen("start", f"--redirect={redirect}")
        time.sleep(moments.uniform(0, duration * 1.2))
        process.kill()
        process.wait(60)
        visitors.wait_for_more(10)
        product.stop()
        assert_nothing_left(product, clean)
    visitors.finish_without_failures()


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_all_killed_while_they_start(redirect, moments, product, clean):
    duration = start_duration(product, redirect)
    for _ in range(ROUNDS):
        process = product.popen("start", f"--redirect={redirect}")
        time.sleep(moments.uniform(0, duration * 1.2))
        # It may still be what becomes the program.
        process.kill()
        product.kill_all()
        process.wait(60)
        product.stop()
        assert_nothing_left(product, clean)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_supervisor_killed_while_it_stops(redirect, moments, product,
                                          send_visitors, clean):
    visitors = send_visitors()
    for _ in range(ROUNDS // 2):
        product.start(f"--redirect={redirect}")
        supervisor = product.supervisor()
        os.kill(supervisor, signal.SIGTERM)
        time.sleep(moments.uniform(0, 3.5))
        if supervisor in product.pids():
            product.kill(supervisor)
        visitors.wait_for_more(10)
        product.stop()
        assert_nothing_left(product, clean)
    visitors.finish_without_failures()


def test_stop_removes_the_pidfile_of_a_killed_instance(product, clean):
    product.start("--redirect=steer")
    product.kill_all()
    assert product.pidfile.exists()
    assert not product.pidfile_locked()
    product.stop()
    assert_nothing_left(product, clean)


def test_pid_that_was_used_again_is_left_alone(network, product):
    """The lock tells who runs, not the number."""
    stranger = network.server.popen("sleep", "60")
    product.pidfile.write_text(f"{stranger.pid}\n")
    product.stop()
    assert stranger.poll() is None
    assert not product.pidfile.exists()
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_responder_is_reached_after_repair(redirect, network, product, web):
    """The state after a kill and a start is as good as a first start's."""
    responder = Recorder(network.server, "responder", 31443)
    product.start(f"--redirect={redirect}")
    product.kill(product.supervisor())
    product.start(f"--redirect={redirect}")
    for address in Network.SERVER.values():
        with network.client.connect(address, 443) as connection:
            connection.sendall(hello.hello(hello.alpn(hello.ACME)))
            assert connection.recv(100) == responder.greeting
    product.stop()
    responder.stop()
