# SPDX-License-Identifier: MIT
"""What a running instance tells of itself, in each form."""

import datetime
import json
import os
import re
import signal
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import hello
from harness.faults import Tracer
from harness.namespace import wait_until
from harness.network import Network
from harness.product import REDIRECTS
from harness.recorder import Recorder
from harness.terminal import on_a_terminal, read_to_the_end, read_until
from harness.visitors import LongVisitor

NOT_RUNNING = 3
# Of those who ask for the status.
QUEUE = 16
CONFINEMENT = {"user", "capabilities", "root", "calls"}


@pytest.fixture
def visited(redirect, network, product, web):
    """An instance that has relayed one visitor of each kind."""
    product.start(f"--redirect={redirect}")
    responder = Recorder(network.server, "responder", 31443)
    visitor = LongVisitor(network.client, Network.SERVER[4], web)
    visitor.visit()
    with network.authority.connect(Network.SERVER_FOR_AUTHORITY[6],
                                   443) as connection:
        connection.sendall(hello.hello(hello.alpn(hello.ACME)))
        assert connection.recv(100) == responder.greeting
    responder.next()
    yield visitor
    visitor.close()
    responder.stop()


def test_json_counts_what_was_relayed(redirect, visited, product):
    report = json.loads(product.succeed("status", "--json").stdout)
    assert report["running"] is True
    assert report["pid"] == product.supervisor()
    assert report["worker_pid"] == product.worker()
    assert report["redirect"] == redirect
    assert (report["port"], report["listen"]) == (443, 21443)
    assert report["ipv4"] and report["ipv6"]
    assert report["alpn"] == "127.0.0.1:31443"
    assert CONFINEMENT <= set(report["confinement"])
    assert report["accepted"] == 2
    assert report["to_alpn"] == 1
    assert report["to_fallback"] == 1
    assert report["bytes_from_clients"] > 200
    assert report["bytes_to_clients"] > 200
    assert report["fallback_unreachable"] == 0
    if redirect == "steer":
        assert sum(interface["steered"]
                   for interface in report["interfaces"]) == 2
        assert all(interface["attached_by"] in ("tcx", "clsact")
                   for interface in report["interfaces"])
    else:
        assert report["interfaces"] == []


SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*\})? '
                    r'[0-9]+')


def test_prometheus_text_is_well_formed(redirect, visited, product):
    text = product.succeed("status", "--prometheus").stdout
    # What Prometheus itself would make of it.
    families = {family.name: family
                for family in text_string_to_metric_families(text)}
    assert families["acme_alpn_proxy_accepted"].samples[0].value == 2
    assert all(family.documentation and family.type in ("counter", "gauge")
               for family in families.values())
    types = {}
    samples = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            # Once, and before its samples.
            assert name not in types and kind in ("counter", "gauge")
            types[name] = kind
        elif line.startswith("# HELP "):
            assert len(line.split()) > 3
        else:
            assert SAMPLE.fullmatch(line), line
            series, value = line.rsplit(" ", 1)
            assert series not in samples
            assert series.split("{")[0] in types
            samples[series] = int(value)
    assert all(name.endswith("_total") == (kind == "counter")
               for name, kind in types.items())
    assert samples["acme_alpn_proxy_up"] == 1
    assert samples["acme_alpn_proxy_accepted_total"] == 2
    assert samples["acme_alpn_proxy_to_alpn_total"] == 1
    if redirect == "steer":
        assert sum(value for series, value in samples.items()
                   if 'verdict="steered"' in series) == 2


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_challenges_are_told_by_name_and_address(redirect, network, product,
                                                 web, responder):
    """Of any bytes that are asked for, only what can be a name."""
    product.start(f"--redirect={redirect}", "--workers", "2")
    assert json.loads(product.succeed(
        "status", "--json").stdout)["challenges"] == []
    asked = [(4, b"www.example.test"), (6, b"7.2.0.192.in-addr.arpa"),
             (4, b"\x1b[2J\"\r\n.example.test")]
    for family, name in asked:
        with network.authority.connect(Network.SERVER_FOR_AUTHORITY[family],
                                       443) as connection:
            connection.sendall(hello.challenge(name))
            assert connection.recv(100) == responder.greeting
    expected = [(Network.AUTHORITY[4], ""),
                (Network.AUTHORITY[6], "7.2.0.192.in-addr.arpa"),
                (Network.AUTHORITY[4], "www.example.test")]
    told = json.loads(product.succeed("status", "--json").stdout)["challenges"]
    assert [(one["client"], one["server_name"]) for one in told] == expected
    assert all(0 <= time.time() - datetime.datetime.fromisoformat(
        one["time"].replace("Z", "+00:00")).timestamp() < 60 for one in told)
    assert [f"challenge: {one['time']} from {one['client']} for "
            f"{one['server_name'] or '(no name)'}" for one in told] == [
        line for line in product.succeed("status").stdout.splitlines()
        if line.startswith("challenge: ")]
    # In no label of a metric: whoever asks would make series.
    assert "example.test" not in product.succeed("status",
                                                 "--prometheus").stdout
    process, terminal = on_a_terminal(product, "status")
    assert process.wait(60) == 0
    lines = read_to_the_end(terminal).splitlines()
    rows = [re.split(r"  +", line.strip()) for line in lines[-4:]]
    assert rows[0] == ["last challenges", "from", "for"]
    assert [(row[1], row[2]) for row in rows[1:]] == [
        (client, name or "(no name)") for client, name in expected]
    # The newest are kept.
    for number in range(10):
        with network.authority.connect(Network.SERVER_FOR_AUTHORITY[4],
                                       443) as connection:
            connection.sendall(hello.challenge(b"host%d.test" % number))
            assert connection.recv(100) == responder.greeting
    told = json.loads(product.succeed("status", "--json").stdout)["challenges"]
    assert [one["server_name"] for one in told] == [
        f"host{number}.test" for number in range(9, 1, -1)]
    product.stop()


@pytest.mark.parametrize("name, escaped", [
    (b'"x{}\\n', '"x{}\\n'), (b"c\xff\xc3(", r"c\xff\xc3(")])
def test_names_of_interfaces_are_quoted(name, escaped, network, product, web):
    """Whoever makes interfaces may call them so."""
    network.server.run("ip", "link", "add", "name", os.fsdecode(name), "type",
                       "bridge")
    product.start("--redirect=steer", "--interface", "*[\"c]*")
    text = product.succeed("status", "--prometheus").stdout
    (packets,) = [family for family in text_string_to_metric_families(text)
                  if family.name == "acme_alpn_proxy_packets"]
    assert escaped in {sample.labels["interface"]
                       for sample in packets.samples}
    report = json.loads(product.succeed("status", "--json").stdout)
    assert escaped in {interface["name"]
                       for interface in report["interfaces"]}
    product.stop()


def test_text_names_what_matters(redirect, visited, product):
    text = product.succeed("status").stdout
    assert f"running as {product.supervisor()} since " in text
    assert f"redirect: {redirect}, port 443 to port 21443 on IPv4 IPv6" in text
    assert re.search(r"^ +1 to the ACME responder$", text, re.MULTILINE)


def test_table_is_for_terminals(redirect, visited, product):
    process, terminal = on_a_terminal(product, "status")
    assert process.wait(60) == 0
    lines = read_to_the_end(terminal).splitlines()
    assert re.fullmatch(rf"running as {product.supervisor()} since "
                        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d+ s", lines[0])
    mode = json.loads(product.succeed("status", "--json").stdout)["mode"]
    assert (f"  redirect          {mode}, port 443 to 21443, "
            "IPv4 and IPv6") in lines
    assert "  challenges go to  127.0.0.1:31443" in lines
    assert "  visitors go to    " + (
        "the web server, as ever" if mode == "handoff"
        else "127.0.0.1:443") in lines
    numbers = dict(reversed(line.split(maxsplit=1)) for line in lines
                   if re.match(r" +\d+  ", line))
    assert numbers["visitors passed"] == "1"
    assert numbers["challenges taken"] == "1"
    assert "connections open now" in numbers
    # Of what did not happen nothing is said.
    assert "closed, the web server unreachable" not in numbers
    heading = [line for line in lines if line.startswith("  interface ")]
    rows = [re.split(r"  +", line.strip()) for line in lines
            if " tcx " in line or " clsact " in line]
    if redirect == "iptables":
        assert not heading and not rows
        return
    # One for each wire; with what happened, and it alone.
    titles = re.split(r"  +", heading[0].strip())
    assert titles[:2] == ["interface", "by"]
    assert all(len(row) == len(titles) for row in rows)
    assert {"client", "authority"} <= {row[0] for row in rows}
    taken = "challenges taken" if mode == "handoff" else "steered"
    assert sum(int(row[titles.index(taken)]) for row in rows) == (
        1 if mode == "handoff" else 2)
    assert "damaged" not in titles and "not taken: damaged" not in titles


def test_watch_on_a_terminal_redraws(redirect, visited, product):
    process, terminal = on_a_terminal(product, "status", "--watch")
    text = "".join(read_until(terminal, "challenges taken") for _ in range(3))
    product.stop()
    text += read_until(terminal, "\x1b[H\x1b[Jnot running\r\n")
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    text += read_to_the_end(terminal)
    pictures = text.split("\x1b[H\x1b[J")
    assert pictures[0] == ""
    assert sum("challenges taken" in picture for picture in pictures) >= 3
    assert pictures[1].startswith("running as ")
    # It waits for the next one.
    assert pictures[-1] == "not running\r\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--prometheus"]])
def test_watch_without_a_terminal_reports_each_second(options, visited,
                                                      product):
    began = time.monotonic()
    process = product.popen("status", "--watch", *options, text=True,
                            stdout=subprocess.PIPE)
    text = ""
    end = "\n" if options == ["--json"] else "\n\n"
    while text.count(end) < 3:
        text += process.stdout.readline()
    assert time.monotonic() - began > 1.9
    process.terminate()
    text += process.communicate(timeout=60)[0]
    if options == ["--json"]:
        reports = [json.loads(line) for line in text.splitlines()]
        assert all(report["to_alpn"] == 1 for report in reports)
    else:
        reports = text.rstrip("\n").split("\n\n")
        assert product.succeed("status", *options).stdout.split("\n")[0] in (
            reports[0])
    assert "\x1b" not in text


def test_watch_ends_when_nobody_reads(product, web):
    product.start("--bpf")
    process = product.popen("status", "--watch", stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 1
    product.stop()


@pytest.mark.parametrize("options, alpn, fallback", [
    ([], None, None),
    (["--proxy-protocol", "v1"], None, "v1"),
    (["--alpn-proxy-protocol", "v1", "--proxy-protocol", "v2"], "v1", "v2"),
], ids=["none", "one", "both"])
def test_proxy_protocol_is_named(options, alpn, fallback, product):
    def named(version):
        return f" (PROXY protocol {version})" if version else ""

    product.start("--no-redirect", *options)
    assert ("backends: acme-tls/1 to 127.0.0.1:31443" + named(alpn) +
            ", all others to 127.0.0.1:443" + named(fallback) +
            "\n") in product.succeed("status").stdout
    report = json.loads(product.succeed("status", "--json").stdout)
    assert report["alpn_proxy_protocol"] == alpn
    assert report["fallback_proxy_protocol"] == fallback
    product.stop()


def test_not_running(product):
    for option, expected in (("", "not running\n"),
                             ("--json", '{"running":false,'
                                        '"state":"not running"}\n')):
        result = product.run("status", *option.split())
        assert result.returncode == NOT_RUNNING
        assert result.stdout == expected
    result = product.run("status", "--prometheus")
    assert result.returncode == NOT_RUNNING
    assert result.stdout.endswith("acme_alpn_proxy_up 0\n")


def test_socket_is_private_and_goes_with_the_redirect(product, web):
    socket = product.pidfile.with_suffix(".sock")
    product.start("--redirect=steer")
    assert socket.stat().st_mode & 0o777 == 0o600
    product.kill(product.supervisor())
    # The stale one neither answers nor is in the way.
    assert product.run("status").returncode == NOT_RUNNING
    product.start("--redirect=steer")
    assert product.run("status").returncode == 0
    product.stop()
    assert not socket.exists()


def test_those_who_asked_leave_nothing_open(product, web):
    product.start("--redirect=steer")
    folder = f"/proc/{product.supervisor()}/fd"
    before = len(os.listdir(folder))
    for _ in range(3):
        product.succeed("status")
    wait_until(lambda: len(os.listdir(folder)) == before,
               what="the end of all that was open")
    product.stop()


def test_supervisor_without_a_descriptor_to_answer_with(product, web, tmp_path):
    """It tries now and then, and has time for all else."""
    product.start("--redirect=steer")
    trace = tmp_path / "trace"
    tracer = Tracer(product.supervisor(), trace, "-e",
                    "inject=accept4:error=EMFILE")
    began = time.monotonic()
    asker = product.popen("status", stdout=subprocess.DEVNULL)
    wait_until(lambda: "INJECTED" in trace.read_text(), what="a failure")
    asker.wait(60)
    assert trace.read_text().count("INJECTED") < 5 * (
        1 + time.monotonic() - began)
    tracer.stop()
    product.succeed("status")
    product.stop()


def test_supervisor_that_is_stopped_does_not_hang_status(product, web):
    """Neither those who wait in its queue nor those who do not fit there."""
    product.start("--redirect=steer")
    supervisor = product.supervisor()
    os.kill(supervisor, signal.SIGSTOP)
    askers = [product.popen("status", stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
              for _ in range(QUEUE + 4)]
    try:
        for asker in askers:
            answer = asker.communicate(timeout=60)[0]
            assert asker.returncode == 1
            assert (f"running as {supervisor}, but it does not tell more: it "
                    "did not answer in time\n") in answer
    finally:
        for asker in askers:
            asker.kill()
            asker.wait()
        os.kill(supervisor, signal.SIGCONT)
    product.succeed("status")
    product.stop()
