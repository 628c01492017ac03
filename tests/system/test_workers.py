# SPDX-License-Identifier: MIT
"""Several workers share the listeners; the death of one is no more than that."""

import contextlib
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import accept_visitor
from harness.visitors import LongVisitor

COUNT = 3
WORKERS = ("--workers", str(COUNT))
# A worker that was stopped between accept() and its counter.
UNCOUNTED = 1
RESPAWN_LIMIT = 5
RATE = 100
PIPES = 64


def status(product):
    return json.loads(product.run("status", "--json", stderr=None).stdout)


def members(product):
    """What status tells of each worker, by pid."""
    return {worker["pid"]: worker for worker in status(product)["workers"]}


def wait_for_all(product, more=20):
    """Until each worker has accepted so many."""
    wait_until(lambda: all(worker["accepted"] >= more for worker in
                           members(product).values()), what="a share for each")


def wait_for_another(product, gone):
    wait_until(lambda: len(set(product.workers()) - {gone}) == COUNT,
               what=f"a worker instead of {gone}")


def placement(redirect, product):
    """Another value after any moment in which the redirect was away."""
    if redirect == "steer":
        return sum(interface["not_steering"]
                   for interface in status(product)["interfaces"])
    listing = product.namespace.run("nft", "-a", "list", "ruleset").stdout
    found = re.findall(r"dport 443 .*?# handle (\d+)", listing, re.DOTALL)
    assert len(found) == 2, listing
    return found


def lost(totals):
    """But not those who had to wait, as on a machine that is busy."""
    return totals["visits"] - totals["ok"] - totals["stalled"]


def long_visitors(network, web, product):
    """So many that each worker has one."""
    visitors = []
    for number in range(100):
        visitors.append(LongVisitor.through_the_proxy(
            network.client, Network.SERVER[4 + number % 2 * 2], web))
        if all(worker["open_connections"] for worker in
               members(product).values()):
            return visitors
    raise AssertionError(f"not all take part: {members(product)}")


def test_all_take_part(redirect, product, send_visitors, clean):
    product.start(f"--redirect={redirect}", *WORKERS)
    visitors = send_visitors(rate=RATE)
    wait_for_all(product)
    report = status(product)
    assert sorted(members(product)) == sorted(product.workers())
    assert report["worker_pid"] == report["workers"][0]["pid"]
    assert {"user", "capabilities", "calls"} <= set(report["confinement"])
    product.stop()
    totals = visitors.finish_without_failures()
    assert totals["through_proxy"] > COUNT * 20
    product.wait_gone()
    assert residue.snapshot(product.namespace) == clean
    through_proxy = re.search(r"done: (\d+) connections", product.log_text())
    assert int(through_proxy.group(1)) >= totals["through_proxy"]


def test_status_sums_up(network, product, web):
    product.start("--redirect=steer", *WORKERS)
    visitors = long_visitors(network, web, product)
    report = status(product)
    for key in ("accepted", "open_connections"):
        assert report[key] == len(visitors)
        assert report[key] == sum(worker[key] for worker in report["workers"])
    text = product.succeed("status").stdout
    assert re.search(r"^workers:( \d+,){3} confined by", text, re.M), text
    text = product.succeed("status", "--prometheus").stdout
    shares = re.findall(r'^acme_alpn_proxy_worker_accepted_total'
                        r'\{worker="(\d)"\} (\d+)$', text, re.M)
    assert [number for number, _ in shares] == ["0", "1", "2"]
    assert sum(int(share) for _, share in shares) == len(visitors)
    for visitor in visitors:
        visitor.close()
    product.stop()


def test_counters_are_out_of_reach_of_other_workers(product, web):
    product.start("--redirect=steer", *WORKERS)
    killed = product.workers()[0]
    product.kill(killed)
    wait_for_another(product, killed)
    shared = [set(re.findall(r"^\S+ rw-s \S+ \S+ (\d+) .*/dev/zero",
                             Path(f"/proc/{pid}/maps").read_text(), re.M))
              for pid in product.workers()]
    # Some are libbpf's, and the same in all.
    own = [pages - set.intersection(*shared) for pages in shared]
    assert [len(pages) for pages in own] == [1] * COUNT
    assert len(set.union(*own)) == COUNT
    product.stop()


def take_away(product, pid, signal_number):
    """Stop it first: what it holds then is what will be lost at most."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(),
               what="a stopped worker")
    held = members(product)[pid]["open_connections"]
    if signal_number != signal.SIGSTOP:
        os.kill(pid, signal_number)
    return held


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP],
                         ids=["killed", "stopped"])
def test_one_goes_and_the_others_go_on(how, redirect, network, product, web,
                                       send_visitors, clean):
    product.start(f"--redirect={redirect}", *WORKERS)
    visitors = send_visitors(rate=RATE)
    wait_for_all(product)
    before = placement(redirect, product)
    gone = product.workers()[1]
    held = take_away(product, gone, how)
    visitors.wait_for_more(100, "through_proxy")
    # The watchdog bites after ten seconds.
    wait_for_another(product, gone)
    wait_for_all(product, max(worker["accepted"] for worker in
                              members(product).values()) + 5)
    assert placement(redirect, product) == before
    assert ("hung" in product.log_text()) == (how == signal.SIGSTOP)
    totals = visitors.finish()
    assert lost(totals) <= held + UNCOUNTED, totals
    assert totals["ok"] > 0.9 * totals["visits"], totals
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_all_gone_at_once(redirect, network, product, web, send_visitors,
                          clean):
    """Nobody is left to take over: new flows go to the web server at once."""
    product.start(f"--redirect={redirect}", *WORKERS)
    for pid in product.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: product.log_text().count("replaced") == COUNT,
               what="new workers")
    visitors = send_visitors(rate=RATE)
    wait_for_all(product, 5)
    visitors.finish_without_failures()
    product.stop()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_one_that_dies_again_and_again(product, network, web):
    """It is given up, and the others are not."""
    product.start("--redirect=steer", "--workers", "2")
    (stays, dies) = product.workers()
    for _ in range(RESPAWN_LIMIT):
        product.kill(dies)
        (dies,) = wait_until(lambda: set(product.workers()) - {stays, dies},
                             what="another")
        wait_until(lambda: dies in members(product), what="its start")
    product.kill(dies)
    wait_until(lambda: "in their place" in product.log_text(), what="the end of it")
    assert product.workers() == [stays]
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    assert visitor.through_proxy
    visitor.close()
    report = status(product)
    assert report["worker_pid"] == stays
    assert [worker["pid"] for worker in report["workers"]] == [stays, 0]
    product.stop("--wait")


def test_stop_drains_all(redirect, network, product, web, clean):
    product.start(f"--redirect={redirect}", *WORKERS)
    visitors = long_visitors(network, web, product)
    product.stop()
    assert not product.listening()
    assert not product.pidfile.exists()
    assert len(product.pids()) == 1 + COUNT
    for visitor in visitors:
        visitor.visit()
    # The last connection of the last worker ends the drain, no other does.
    for visitor in visitors[1:]:
        visitor.close()
    wait_until(lambda: len(product.pids()) == 2, what="the others' end")
    visitors[0].visit()
    visitors[0].close()
    product.wait_gone()
    assert residue.snapshot(network.server) == clean


def test_killed_supervisor(redirect, network, product, web, send_visitors,
                           clean):
    """All its workers are found, and none loses a connection."""
    visitors = send_visitors(rate=RATE)
    product.start(f"--redirect={redirect}", *WORKERS)
    during = long_visitors(network, web, product)
    product.kill(product.supervisor())
    visitors.wait_for_more(100)
    product.stop()
    assert not product.listening()
    for visitor in during:
        visitor.visit()
        visitor.close()
    visitors.finish_without_failures()
    product.wait_gone()
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == clean


def test_connections_are_limited_in_all(network, product, web):
    """--max-connections is for all workers together."""
    most = COUNT * 2 + 1
    # Steering would let those pass who find no room.
    product.start("--redirect=iptables", *WORKERS, "--max-connections",
                  str(most))
    crowd = [network.client.connect(Network.SERVER[4], 443)
             for _ in range(4 * most)]
    wait_until(lambda: status(product)["open_connections"] == most,
               what="a full house")
    assert sorted(worker["open_connections"] for worker in
                  status(product)["workers"]) == [2, 2, 3]
    assert status(product)["accept_pauses"] >= COUNT
    for one in crowd:
        one.sendall(b"GET / HTTP/1.0\r\n\r\n")
        one.shutdown(socket.SHUT_WR)
    for one in crowd:
        while one.recv(4096):
            pass
        one.close()
    wait_until(lambda: status(product)["accepted"] == 4 * most, what="all")
    product.stop("--wait")


def pipes(worker):
    targets = (os.readlink(file) for file in
               os.scandir(f"/proc/{worker}/fd"))
    return len({target for target in targets if target.startswith("pipe:")})


def test_pipes_are_shared(network, product):
    """By all workers, as what the kernel lets their user have in pipes is."""
    most = -(-PIPES // COUNT)
    listener = network.server.listen("127.0.0.1", 9443)
    product.start("--no-redirect", "--fallback", "127.0.0.1:9443", *WORKERS)
    readers, writers = [], []
    for _ in range(2 * PIPES):
        reader = network.server.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", 21443))
        reader.sendall(b"GET / HTTP/1.0\r\n\r\n")
        readers.append(reader)
        writers.append(accept_visitor(listener)[0])
        writers[-1].setblocking(False)

    def stall():
        """They read nothing, and no more can be written."""
        sent = 0
        for writer in writers:
            with contextlib.suppress(BlockingIOError):
                sent += writer.send(bytes(1 << 16))
        return sent == 0

    # Mostly all; on a slow machine more is copied.
    wait_until(lambda: stall() and max(map(pipes, product.workers())) > 0,
               what="pipes in use")
    assert max(map(pipes, product.workers())) <= most
    for one in (*readers, *writers, listener):
        one.close()
    product.stop("--wait")


def test_no_more_workers_than_connections(product, web):
    product.start("--redirect=steer", "--workers", "8", "--max-connections",
                  "2")
    assert len(product.workers()) == 2
    product.stop()


def test_as_many_as_cores(product, web):
    product.start("--redirect=steer", "--workers", "auto")
    assert len(product.workers()) == len(os.sched_getaffinity(0))
    product.stop()
    result = product.run("start", "--redirect=steer", "--workers", "0")
    assert result.returncode == 2
    assert "--workers 0: a number from 1 to 64, or auto" in result.stdout
