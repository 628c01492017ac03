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
from harness.recorder import Recorder
from harness.visitors import LongVisitor

# Moments of each kind at which a starting instance is killed.
ROUNDS = 8


@pytest.fixture
def clean(network, web):
    """The server's network before the program touched it."""
    return residue.snapshot(network.server)


@pytest.fixture(params=["start", "stop"])
def repair(request, redirect, product):
    """The next command after the kill, which leaves all in good order."""
    def run():
        if request.param == "start":
            product.start(f"--{redirect}")
            assert product.listening()
        product.stop()
    return run


def assert_nothing_left(product, clean, objects):
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(product.namespace) == clean
    residue.wait_bpf_objects_gone(objects)


def test_killed_supervisor(redirect, family, repair, network, product, web,
                           send_visitors, clean):
    visitors = send_visitors(family)
    product.start(f"--{redirect}")
    objects = product.bpf_objects()
    during = LongVisitor.through_the_proxy(network.client,
                                           Network.SERVER[family], web)
    visitors.wait_for_more(50, "through_proxy")

    product.kill(product.supervisor())
    during.visit()
    visitors.wait_for_more(200)
    during.visit()
    repair()
    during.visit()
    during.close()
    visitors.wait_for_more(50)
    visitors.finish_without_failures()
    assert_nothing_left(product, clean, objects)


def test_killed_supervisor_opens_the_port_by_itself(family, product, web,
                                                    send_visitors, clean):
    """Fail-open: with BPF, nothing has to be run for it."""
    product.start("--bpf")
    objects = product.bpf_objects()
    visitors = send_visitors(family)
    visitors.wait_for_more(50, "through_proxy")
    product.kill(product.supervisor())
    wait_until(lambda: not product.listening(), what="end of the listeners")
    through_proxy = visitors.totals()["through_proxy"]
    visitors.wait_for_more(200)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == through_proxy
    product.wait_gone()
    product.stop()
    assert_nothing_left(product, clean, objects)


def test_killed_worker_is_replaced(redirect, family, network, product, web,
                                   send_visitors, clean):
    product.start(f"--{redirect}")
    objects = product.bpf_objects()
    killed = product.worker()
    product.kill(killed)
    wait_until(lambda: product.workers() and product.worker() != killed,
               what="another worker")
    visitors = send_visitors(family)
    visitors.wait_for_more(100, "through_proxy")
    visitors.finish_without_failures()
    product.stop()
    assert_nothing_left(product, clean, objects)


def test_killed_worker_loses_only_its_own_connections(redirect, family,
                                                      network, product, web,
                                                      send_visitors):
    """New visitors in the very moment are served, if perhaps a little late."""
    before = LongVisitor(network.client, Network.SERVER[family], web)
    product.start(f"--{redirect}")
    during = LongVisitor.through_the_proxy(network.client,
                                           Network.SERVER[family], web)
    visitors = send_visitors(family, rate=50)
    visitors.wait_for_more(20, "through_proxy")
    product.kill(product.worker())
    visitors.wait_for_more(100, "through_proxy")
    totals = visitors.finish()
    # Those that the worker held when it died.
    assert totals["refused"] == totals["stalled"] == 0, totals
    assert totals["reset"] + totals["cut_short"] <= 16, totals
    before.visit()
    before.close()
    with pytest.raises((OSError, AssertionError)):
        during.visit()
    during.close()


@pytest.mark.parametrize("redirect", ["bpf"])
def test_all_processes_killed_at_once(family, repair, network, product, web,
                                      send_visitors, clean):
    product.start("--bpf")
    objects = product.bpf_objects()
    pids = product.pids()
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    visitors = send_visitors(family)
    visitors.wait_for_more(200)
    repair()
    visitors.finish_without_failures()
    assert_nothing_left(product, clean, objects)


@pytest.mark.parametrize("redirect", ["iptables"])
def test_all_processes_killed_at_once_with_iptables(family, repair, network,
                                                    product, web,
                                                    send_visitors, clean):
    """Nobody is there for the rule's visitors until the next command."""
    product.start("--iptables")
    product.kill_all()
    with pytest.raises(ConnectionRefusedError):
        network.client.connect(Network.SERVER[family], 443)
    repair()
    visitors = send_visitors(family)
    visitors.wait_for_more(100)
    visitors.finish_without_failures()
    assert_nothing_left(product, clean, set())


def test_stopped_worker_opens_the_port(family, network, product, web,
                                       send_visitors):
    """A worker that hangs is as good as dead: its lease runs out."""
    product.start("--bpf")
    worker = product.worker()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2.5)
    visitors = send_visitors(family)
    visitors.wait_for_more(100)
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] == 0
    os.kill(worker, signal.SIGCONT)
    product.stop()


def start_duration(product, redirect):
    began = time.monotonic()
    process = product.popen("start", f"--{redirect}")
    product.wait_running()
    duration = time.monotonic() - began
    product.stop()
    process.wait(20)
    return duration


@pytest.mark.parametrize("whole", [False, True],
                         ids=["supervisor", "all-processes"])
def test_killed_at_a_random_moment_of_the_start(redirect, whole, product, web,
                                                send_visitors, clean):
    duration = start_duration(product, redirect)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    # Visits that a killed worker held are lost, and nobody else's.
    visitors = [] if whole else [send_visitors(family, rate=100)
                                 for family in (4, 6)]

    for _ in range(ROUNDS):
        process = product.popen("start", f"--{redirect}")
        time.sleep(moments.uniform(0, duration * 1.2))
        if whole:
            product.kill_all()
        process.kill()
        process.wait(10)
        for one in visitors:
            one.wait_for_more(20)
        product.stop()
        assert not product.pidfile.exists()
        product.wait_gone()
        assert residue.snapshot(product.namespace) == clean
    for one in visitors:
        one.finish_without_failures()


def test_killed_at_a_random_moment_of_the_stop(redirect, product, web,
                                               send_visitors, clean):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    visitors = [send_visitors(family, rate=100) for family in (4, 6)]
    for _ in range(ROUNDS // 2):
        product.start(f"--{redirect}")
        supervisor = product.supervisor()
        os.kill(supervisor, signal.SIGTERM)
        time.sleep(moments.uniform(0, 3.5))
        if supervisor in product.pids():
            product.kill(supervisor)
        for one in visitors:
            one.wait_for_more(20)
        product.stop()
        assert not product.pidfile.exists()
        product.wait_gone()
        assert residue.snapshot(product.namespace) == clean
    for one in visitors:
        one.finish_without_failures()


def test_stop_removes_the_pidfile_of_a_killed_instance(redirect, product, web,
                                                       clean):
    product.start(f"--{redirect}")
    product.kill_all()
    assert product.pidfile.exists()
    assert not product.pidfile_locked()
    product.stop()
    assert_nothing_left(product, clean, set())


def test_pid_that_was_used_again_is_left_alone(redirect, network, product,
                                               web):
    """The lock tells who runs, not the number."""
    stranger = network.server.popen("sleep", "60")
    product.pidfile.write_text(f"{stranger.pid}\n")
    product.stop()
    assert stranger.poll() is None
    assert not product.pidfile.exists()
    stranger.kill()
    stranger.wait()


def test_responder_gets_its_share_after_repair(redirect, family, network,
                                               product, web):
    """The state after a kill and a start is as good as a first start's."""
    responder = Recorder(network.server, "responder", 31443)
    product.start(f"--{redirect}")
    product.kill(product.supervisor())
    product.start(f"--{redirect}")
    with network.client.connect(Network.SERVER[family], 443) as connection:
        connection.sendall(hello.hello(hello.alpn(hello.ACME)))
        assert connection.recv(100) == responder.greeting
    product.stop()
    responder.stop()
