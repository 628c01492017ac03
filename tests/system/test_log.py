# SPDX-License-Identifier: MIT
"""The log: where it goes, in what form, and what a connection leaves there."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import Recorder
from harness.visitors import LongVisitor

FIELDS = ["client", "server_name", "verdict", "backend", "bytes_from_client",
          "bytes_to_client", "seconds", "end"]
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture
def backends(network):
    made = {"acme-tls/1": Recorder(network.server, "responder", 31443),
            "other": Recorder(network.server, "web", 443)}
    yield made
    for one in made.values():
        one.stop()


def talk(network, data):
    """Send @data, read the greeting, leave in order."""
    with network.client.connect(Network.SERVER[4], 443) as visitor:
        visitor.sendall(data)
        greeting = visitor.recv(100)
        visitor.shutdown(1)
        assert visitor.recv(1) == b""
        return visitor.getsockname()[1], len(greeting)


def connections_in_text(product):
    """The fields of each connection's line, in their order."""
    found = []
    for line in product.log_text().splitlines():
        match = re.fullmatch(TIME + "connection (.*)", line)
        if match:
            found.append(dict(word.split("=", 1)
                              for word in match.group(1).split(" ")))
    return found


def connections_in_json(product):
    events = [json.loads(line) for line in product.log_text().splitlines()]
    return [event for event in events if event["message"] == "connection"]


CASES = {
    "acme-tls/1": hello.challenge(b"www.example.test"),
    "other": hello.hello(hello.alpn(b"h2")),
    # In the middle of the name.
    "incomplete": hello.challenge(
        b"www.example.test").partition(b".example.test")[0],
    "silent": b"",
}


@pytest.mark.parametrize("form, read", [("text", connections_in_text),
                                        ("json", connections_in_json)])
def test_one_line_a_connection(form, read, network, product, backends):
    product.start("--redirect=steer", "-v", "--log-format", form,
                  "--hello-timeout",
                  "0.2")
    sent = {}
    for verdict, data in CASES.items():
        with network.client.connect(Network.SERVER[4], 443) as visitor:
            visitor.sendall(data)
            if verdict != "silent":
                visitor.shutdown(1)
            greeting = len(visitor.recv(100))
            if verdict == "silent":
                visitor.shutdown(1)
            assert visitor.recv(1) == b""
            sent[verdict] = (visitor.getsockname()[1], len(data), greeting)
    wait_until(lambda: len(read(product)) == len(CASES), what="all lines")
    for found in read(product):
        assert [key for key in found
                if key not in ("time", "level", "message")] == FIELDS
        port, from_client, to_client = sent.pop(found["verdict"])
        assert found["client"] == f"192.0.2.2:{port}"
        assert found["server_name"] == (
            "www.example.test" if found["verdict"] in ("acme-tls/1", "other")
            else "")
        assert found["backend"] == (
            "127.0.0.1:31443" if found["verdict"] == "acme-tls/1"
            else "127.0.0.1:443")
        assert int(found["bytes_from_client"]) == from_client
        assert int(found["bytes_to_client"]) == to_client
        assert 0 <= float(found["seconds"]) < 60
        assert found["end"] == "closed"
    assert not sent
    product.stop()


def test_line_says_who_ended_it(network, product, backends):
    product.start("--redirect=steer", "-v", "--drain-timeout", "0.5")
    with network.client.connect(Network.SERVER[4], 443) as visitor:
        visitor.sendall(CASES["other"])
        visitor.recv(100)
        # With unread data at its end, close() resets.
        visitor.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: connections_in_text(product), what="a line")
    backends.pop("acme-tls/1").stop()
    with network.client.connect(Network.SERVER[4], 443) as visitor:
        visitor.sendall(CASES["acme-tls/1"])
        with pytest.raises(ConnectionResetError):
            visitor.recv(100)
    wait_until(lambda: len(connections_in_text(product)) == 2, what="a line")
    with network.client.connect(Network.SERVER[4], 443) as visitor:
        visitor.sendall(CASES["other"])
        visitor.recv(100)
        product.stop("--wait")
    assert [found["end"] for found in connections_in_text(product)] == [
        "client-failed", "unreachable", "stopped"]


def test_connections_are_not_logged_unless_asked_for(network, product,
                                                     backends):
    product.start("--redirect=steer")
    for data in CASES.values():
        if data:
            talk(network, data)
    product.stop("--wait")
    assert not connections_in_text(product)


def test_json_cannot_be_forged(network, product, backends):
    """Every line is one object with the members it should have, and none of a
    stranger's making; the name comes back as text shows it."""
    names = {b'x","level":"error","message":"forged"}\n{"a":"':
             r'x","level":"error","message":"forged"}\x0a{"a":"',
             b"\xff\xfe\xc3\x28\x00\x1b[2J\\u0022\\": r"\xff\xfe\xc3(\x00"
             r"\x1b[2J\u0022" + "\\",
             b"a" * 255: "a" * 255, b"\n" * 255: r"\x0a" * 255,
             b'"' * 255: '"' * 255}
    product.start("--redirect=steer", "-v", "--log-format=json")
    for name in names:
        talk(network, hello.challenge(name))
    wait_until(lambda: len(connections_in_json(product)) == len(names),
               what="all lines")
    events = [json.loads(line) for line in product.log_text().splitlines()]
    for event in events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                            event["time"])
        assert event["level"] in ("info", "debug")
    assert ([found["server_name"] for found in connections_in_json(product)] ==
            list(names.values()))
    product.stop()


def log_files(product):
    """Where each process of the instance has its log, by /proc."""
    found = set()
    for pid in [product.supervisor(), *product.workers()]:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(path)
                if target.startswith(str(product.log)):
                    found.add(target)
    return found


def test_rotation(redirect, network, product, web, send_visitors):
    """As logrotate does it, while visitors come: nobody notices, and both
    processes go on in the new file."""
    product.start(f"--redirect={redirect}", "-v", "--workers", "2")
    visitors = send_visitors(4, rate=100)
    visitors.wait_for_more(50)
    stays = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                          web)
    old = product.log.with_name("proxy.log.1")
    for _ in range(3):
        product.log.rename(old)
        os.kill(product.supervisor(), signal.SIGUSR1)
        wait_until(product.log.exists, what="a new file")
        wait_until(lambda: log_files(product) == {str(product.log)},
                   what="all processes to log there")
        size = old.stat().st_size
        lines = len(connections_in_text(product))
        visitors.wait_for_more(50)
        wait_until(lambda: len(connections_in_text(product)) >= lines + 20,
                   what="lines of the worker")
        assert old.stat().st_size == size
        assert "log file opened again" in product.log_text()
        assert product.log.stat().st_mode & 0o777 == 0o600
    stays.visit()
    stays.close()
    visitors.finish_without_failures()
    # Also the next worker, and a drain.
    product.kill(product.workers()[0])
    wait_until(lambda: ": replaced one that died" in product.log_text(),
               what="a new worker")
    assert log_files(product) == {str(product.log)}
    stays = LongVisitor.through_the_proxy(network.client, Network.SERVER[4],
                                          web)
    supervisor = product.supervisor()
    product.stop()
    product.log.rename(old)
    os.kill(supervisor, signal.SIGUSR1)
    wait_until(product.log.exists, what="a new file")
    stays.close()
    product.wait_gone()
    assert "done: " in product.log_text()


def test_rotation_that_fails_keeps_the_old_file(network, product, backends):
    product.start("--redirect=steer", "-v")
    old = product.log.with_name("proxy.log.1")
    product.log.rename(old)
    product.log.mkdir()
    os.kill(product.supervisor(), signal.SIGUSR1)
    wait_until(lambda: f"cannot open {product.log} again: Is a directory" in
               old.read_text(), what="a line in the old file")
    talk(network, CASES["other"])
    wait_until(lambda: " connection client=" in old.read_text(),
               what="a line of the worker")
    product.log.rmdir()
    os.kill(product.supervisor(), signal.SIGUSR1)
    wait_until(product.log.exists, what="a new file")
    product.stop()


def test_sigusr1_without_a_file_is_nothing(network, product, backends):
    """Neither for the supervisor nor, sent to all by name, for a worker."""
    log, product.log = product.log, "-"
    with open(log, "wb") as output:
        start = product.popen("start", "--redirect=steer", stdout=output,
                              stderr=output)
        supervisor = product.wait_running()
        workers = product.workers()
        for pid in (supervisor, *workers):
            os.kill(pid, signal.SIGUSR1)
        time.sleep(0.3)
        talk(network, CASES["other"])
        assert product.workers() == workers
        product.run("stop")
        assert start.wait(60) == 0
    assert "again" not in log.read_text()


def stream_of(file):
    status = os.fstat(file.fileno())
    return f"{status.st_dev}:{status.st_ino}"


@pytest.mark.parametrize("words", [["start", "--redirect=steer"],
                                   ["start", "--redirect=steer", "--daemon"]],
                         ids=["foreground", "daemon"])
def test_journal_is_logged_to(words, network, product, tmp_path):
    """What systemd does: standard error leads to the journal, and a variable
    says which one it is. A pipe to a hook runner may be beside it."""
    with open(tmp_path / "journal", "w+", encoding="ascii") as journal:
        process = network.server.popen(
            product.program, *words, stderr=journal, stdout=subprocess.PIPE,
            env=dict(product.environment, JOURNAL_STREAM=stream_of(journal)))
        product.wait_running()
        # Its end comes when the program lets go of it.
        process.stdout.read()
        product.run("stop")
        process.wait(60)
        product.wait_gone()
        journal.seek(0)
        lines = journal.read().splitlines()
    assert any(line.startswith("<6>ready: ") for line in lines)
    assert any(line.startswith("<6>done: ") for line in lines)
    assert all(re.match(r"<[3467]>\D", line) for line in lines)


def test_another_stream_is_not_the_journal(product, tmp_path):
    with open(tmp_path / "other", "w+", encoding="ascii") as other:
        result = product.run(
            "stop", env=dict(product.environment,
                             JOURNAL_STREAM=stream_of(other)))
    assert result.stdout == "not running\n"
