# SPDX-License-Identifier: MIT
"""check: will a validation come here? Asked before an order is spent."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import residue
from harness.namespace import wait_until
from harness.network import Network
from harness.resolver import Resolver

DONE, FAILED, USAGE = 0, 1, 2
NAME = "www.example.test"
OWN = [Network.SERVER[4], Network.SERVER[6]]


@pytest.fixture
def names():
    """What the name server says; a test may change it."""
    return {NAME: OWN}


@pytest.fixture
def resolver(network, tmp_path, names):
    made = Resolver(network.server, tmp_path, names)
    yield made
    made.stop()


class Check:
    """Runs check in the server's namespace, with the test's resolver."""

    def __init__(self, product, resolver):
        self._product = product
        self._resolver = resolver

    def run(self, *words, before=()):
        words = self._resolver.words(
            *before, *self._product.command("check", *words))
        return self._product.namespace.run(
            *words, check=False, env=self._product.environment)

    def findings(self, *words):
        """Exit code, and (verdict, value) by topic and address."""
        result = self.run("--json", *words)
        report = json.loads(result.stdout)
        assert report["well"] == (result.returncode == DONE)
        assert "CDN" in report["unknown"]
        return result.returncode, {
            (finding["topic"], finding["address"]):
            (finding["verdict"], finding["value"], finding["text"])
            for finding in report["findings"]}


# What takes over for each of start's words, on a host where all is well.
TAKEN = {"steer": "steer", "iptables": "iptables"}


@pytest.fixture
def check(product, resolver):
    return Check(product, resolver)


def test_all_is_well(redirect, network, product, web, check):
    before = residue.snapshot(network.server)
    code, found = check.findings(f"--redirect={redirect}", NAME)
    assert code == DONE
    for address in OWN:
        assert found["address", address][:2] == ("well", "own")
        verdict, value, text = found["server", address]
        assert (verdict, value) == ("well", "process")
        assert "nginx (process " in text
    assert found["redirect", None][:2] == ("well", TAKEN[redirect])
    assert found["responder", None][:2] == ("well", "free")
    assert len(found) == 6
    assert residue.snapshot(network.server) == before
    assert not product.pids()


def test_redirect_is_that_of_start(product, web, check):
    """The same choice, and the same reason."""
    _, found = check.findings(NAME)
    _, chosen, _ = found["redirect", None]
    product.start()
    report = json.loads(product.succeed("status", "--json").stdout)
    assert report["redirect"] == chosen
    product.stop()
    code, found = check.findings("--iptables", "--interface", "client", NAME)
    assert code == FAILED
    assert found["redirect", None][:2] == ("wrong", None)
    assert "--interface is for BPF" in found["redirect", None][2]


def test_text_is_for_people(web, check):
    result = check.run("--bpf", NAME)
    assert result.returncode == DONE
    lines = result.stdout.splitlines()
    assert lines[0] == NAME
    assert f"  ok     {OWN[0]}: this host's" in lines
    assert "this host" in lines
    assert "  ok     start takes handoff: as it is told, and it works here" in lines
    assert lines[-1].startswith("not to be known from here: a CDN")


@pytest.mark.parametrize("names", [{NAME: [OWN[0], Network.CLIENT[6]]}])
def test_address_of_another_host(network, web, check):
    """Of it is known only whether somebody answers."""
    there = Network.CLIENT[6]
    code, found = check.findings("--bpf", NAME)
    assert code == FAILED
    assert found["address", there][:2] == ("unknown", "other")
    assert found["server", there][:2] == ("wrong", "nobody")
    listener = network.client.listen(there, 443)
    code, found = check.findings("--bpf", NAME)
    listener.close()
    assert code == DONE
    assert found["server", there][:2] == ("unknown", "other")
    assert found["server", OWN[0]][0] == "well"


def test_address_made_ours_by_a_route(network, web, names, check):
    network.server.run("ip", "route", "add", "local", "203.0.113.0/24", "dev",
                       "lo")
    names[NAME] = ["203.0.113.7", "203.0.114.7"]
    _, found = check.findings("--bpf", NAME)
    assert found["address", "203.0.113.7"][:2] == ("well", "own")
    assert found["address", "203.0.114.7"][:2] == ("unknown", "other")


@pytest.mark.parametrize("address, kind", [
    ("127.0.1.1", "loopback"), ("10.1.2.3", "private"),
    ("172.31.0.1", "private"), ("fd17::1", "private")])
def test_address_that_no_ca_comes_to(address, kind, network, names, check):
    if kind == "private":
        network.server.run("ip", "address", "add", address, "dev", "lo",
                           *(["nodad"] if ":" in address else []))
    names[NAME] = [address]
    _, found = check.findings("--bpf", NAME)
    verdict, value, text = found["address", address]
    assert (verdict, value) == ("unknown", "own")
    assert kind in text


def test_nobody_serves(check):
    code, found = check.findings("--bpf", NAME)
    assert code == DONE
    for address in OWN:
        assert found["server", address][:2] == ("unknown", "nobody")


def test_published_port(network, check):
    network.add_container()
    network.publish_port()
    code, found = check.findings("--bpf", NAME)
    assert code == DONE
    for address in OWN:
        _, value, text = found["server", address]
        assert value == "published"
        assert Network.CONTAINER[4] in text
    code, found = check.findings("--iptables", NAME)
    assert code == FAILED
    verdict, value, text = found["redirect", None]
    assert (verdict, value) == ("wrong", "iptables")
    assert "name with -fallback" in text
    code, found = check.findings("--iptables", "--fallback", "127.0.0.1:443",
                                 NAME)
    assert code == FAILED
    verdict, value, text = found["redirect", None]
    assert (verdict, value) == ("well", "iptables")
    assert "ours goes before it" in text
    # Nothing on loopback leads to the container.
    assert found["fallback", None][:2] == ("wrong", "unreachable")


@pytest.mark.parametrize("said, value", [
    ({NAME: None}, "silent"), ({NAME: []}, "silent"), ({}, "none")],
    ids=["silence", "failure", "no name"])
def test_name_server(said, value, names, check):
    names.clear()
    names.update(said)
    code, found = check.findings("--bpf", NAME)
    assert code == FAILED
    assert found["name", None][:2] == ("wrong", value)


def test_no_name_server(resolver, check):
    resolver.stop()
    code, found = check.findings("--bpf", NAME)
    assert code == FAILED
    assert found["name", None][:2] == ("wrong", "silent")


def test_addresses_are_names(network, web, check):
    code, found = check.findings("--bpf", *OWN)
    assert code == DONE
    assert {address for _, address in found} == {*OWN, None}


def test_names_that_no_challenge_will_be_answered_for(web, check):
    code, found = check.findings("--bpf", "*.example.test")
    assert (code, found["name", None][:2]) == (FAILED, ("wrong", "wildcard"))
    code, found = check.findings("--bpf", "--domain", "other.test", NAME)
    assert (code, found["name", None][:2]) == (FAILED, ("wrong", "left out"))
    for domain, name in (("*.example.test", NAME), (OWN[1], OWN[1])):
        code, found = check.findings("--bpf", "--domain", domain, name)
        assert code == DONE
        assert ("name", None) not in found


def test_ipv6_that_is_left_alone(product, web, check):
    product.environment["ACME_ALPN_PROXY_DISABLEV6"] = "y"
    code, found = check.findings("--bpf", NAME)
    assert code == FAILED
    assert found["address", OWN[0]][0] == "well"
    assert found["address", OWN[1]][:2] == ("wrong", "own")


def test_firewall_that_keeps_the_port_shut(network, web, check):
    rule = ["-p", "tcp", "--dport", "443", "-j", "DROP"]
    network.server.run("iptables", "-A", "INPUT", "-i", "lo", *rule)
    assert check.findings("--bpf", NAME)[0] == DONE
    network.server.run("iptables", "-A", "INPUT", *rule)
    code, found = check.findings("--bpf", NAME)
    assert code == FAILED
    verdict, value, text = found["firewall", None]
    assert (verdict, value) == ("wrong", "drops")
    assert "--dport 443 -j DROP" in text


def test_what_start_would_refuse(network, web, check):
    listener = network.server.listen("127.0.0.1", 21443)
    code, found = check.findings("--redirect=steer", NAME)
    listener.close()
    assert code == FAILED
    assert found["redirect", None][0] == "wrong"
    assert "cannot listen on port 21443" in found["redirect", None][2]
    code, found = check.findings("--iptables", "--fallback", "127.0.0.1:1",
                                NAME)
    assert code == FAILED
    assert found["fallback", None][:2] == ("wrong", "unreachable")


def test_port_that_a_connection_has(redirect, network, web, check):
    """start takes another one then."""
    network.server.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    with network.server.connect("127.0.0.1", 443, source_port=21443):
        code, found = check.findings(f"--redirect={redirect}", NAME)
    assert code == DONE
    assert found["redirect", None][:2] == ("well", TAKEN[redirect])


def test_responder_that_answers(responder, web, check):
    code, found = check.findings("--bpf", NAME)
    assert code == DONE
    verdict, value, text = found["responder", None]
    assert (verdict, value) == ("unknown", "answered")
    assert f"(process {os.getpid()})" in text


def test_instance_that_runs(redirect, product, web, check):
    product.start(f"--redirect={redirect}")
    code, found = check.findings(NAME)
    assert code == DONE
    verdict, value, text = found["instance", None]
    assert (verdict, value) == ("well", TAKEN[redirect])
    assert f"process {product.supervisor()} " in text
    assert ("redirect", None) not in found
    product.stop()


def test_who_may_not_see_is_told(network, product, resolver, web):
    """Whose a process is, and what start would take."""
    words = resolver.words("setpriv", "--reuid", "65534", "--regid", "65534",
                           "--clear-groups", product.program, "--json",
                           "check", NAME)
    result = network.server.run(*words, check=False)
    if result.returncode == 127:
        pytest.skip("the program is where nobody else may run it")
    found = json.loads(result.stdout)["findings"]
    assert result.returncode == DONE
    texts = [finding["text"] for finding in found]
    assert any("root alone" in text for text in texts)
    assert any("a process that is not to be seen" in text for text in texts)


@pytest.mark.parametrize("words", [
    [], ["a b"], ["a;b"], ["--serve"], ["--serve", "a.test", "b.test"],
    ["--wait=3", "a.test"], ["--watch", "a.test"], ["a.test", "--prometheus"]])
def test_usage(words, product):
    assert product.run("check", *words).returncode == USAGE


class Serving:
    """check --serve, and what it tells to do."""

    def __init__(self, check, product, resolver, folder, *options):
        folder.mkdir()
        self.folder = folder
        words = resolver.words(*product.command("check", "--serve", "--json",
                                                *options, NAME))
        self.process = product.namespace.popen(
            *words, env={**product.environment, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.told = json.loads(self.process.stdout.readline())

    def end(self):
        """Exit code, whether it was proved, and what it complained of."""
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(output)["proved"], errors


@pytest.fixture
def serve(check, product, resolver, tmp_path):
    made = []

    def start(*options):
        made.append(Serving(check, product, resolver, tmp_path / "temporary",
                            *options))
        return made[-1]

    yield start
    for serving in made:
        serving.process.kill()
        serving.process.wait()


def assert_nothing_left(network, product, serving, before):
    product.wait_gone()
    assert not list(serving.folder.iterdir())
    assert not openssl_of(network)
    assert not product.pidfile.exists()
    assert residue.snapshot(network.server) == before


def openssl_of(network):
    found = []
    for pid in network.server.pids():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe").endswith("/openssl"):
                found.append(pid)
    return found


def test_serve_proves_the_way_in(redirect, network, product, web, serve,
                                 resolver):
    """By the line that it prints, typed on another host as it is."""
    before = residue.snapshot(network.server)
    serving = serve(f"--redirect={redirect}")
    command = serving.told["command"]
    assert command.startswith(f"openssl s_client -connect {NAME}:443 "
                              f"-servername {NAME} -alpn acme-tls/1 ")
    assert serving.told["seconds"] == 300
    # Its key is on no disk.
    assert not list(serving.folder.iterdir())
    product.wait_running()

    def ask(line):
        """The authority has no resolver but its hosts file."""
        script = ("mount --bind \"$0\" /etc/hosts && exec sh -c \"$1\"")
        return network.authority.run("sh", "-c", script, hosts, line,
                                     check=False).stdout

    hosts = serving.folder.parent / "authority-hosts"
    hosts.write_text(f"{Network.SERVER_FOR_AUTHORITY[4]} {NAME}\n")
    # Whoever asks for something else meets the web server, and proves nothing.
    visitor = ask(command.replace("acme-tls/1", "http/1.1"))
    assert f"CN = {web.name}" in visitor
    assert serving.process.poll() is None
    answer = ask(command)
    assert "ALPN protocol: acme-tls/1" in answer
    assert serving.told["subject"] in answer
    code, proved, _ = serving.end()
    assert (code, proved) == (DONE, True)
    assert_nothing_left(network, product, serving, before)


def test_serve_makes_a_certificate_as_a_validation_wants_it(network, product,
                                                            web, serve):
    """RFC 8737 3: the name, and the critical extension."""
    serving = serve("--bpf")
    product.wait_running()
    script = ("openssl s_client -connect "
              f"[{Network.SERVER_FOR_AUTHORITY[6]}]:443 -servername {NAME} "
              "-alpn acme-tls/1 </dev/null | openssl x509 -noout -text")
    text = network.authority.run("sh", "-c", script).stdout
    assert f"DNS:{NAME}" in text
    assert "1.3.6.1.5.5.7.1.31: critical" in text
    assert serving.end()[:2] == (DONE, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_that_is_ended(number, network, product, web, serve):
    before = residue.snapshot(network.server)
    serving = serve("--bpf")
    product.wait_running()
    serving.process.send_signal(number)
    code, proved, _ = serving.end()
    assert (code, proved) == (FAILED, False)
    assert_nothing_left(network, product, serving, before)


def test_serve_answers_strangers_without_rights(network, product, web, serve):
    serve("--bpf")
    (pid,) = openssl_of(network)
    status = dict(line.split(":", 1) for line in
                  Path(f"/proc/{pid}/status").read_text().splitlines())
    assert set(status["Uid"].split()) == {"65534"}
    assert not status["Groups"].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


def test_serve_that_is_killed_leaves_no_responder(network, product, web,
                                                  serve):
    serving = serve("--bpf")
    product.wait_running()
    assert openssl_of(network)
    serving.process.kill()
    serving.process.wait()
    wait_until(lambda: not openssl_of(network), what="the end of openssl")
    assert not list(serving.folder.iterdir())
    product.stop()


def test_serve_waits_so_long(network, product, web, serve):
    before = residue.snapshot(network.server)
    serving = serve("--bpf", "--wait=1")
    code, proved, errors = serving.end()
    assert (code, proved) == (FAILED, False)
    assert "no challenge came in time" in errors
    assert_nothing_left(network, product, serving, before)


def serve_fails(product, check, *options, before=()):
    result = check.run("--serve", "--bpf", *options, NAME, before=before)
    assert result.returncode == FAILED
    assert not product.pids()
    return result.stdout


def test_serve_without_openssl(product, check):
    assert "openssl is not installed" in serve_fails(
        product, check, before=["env", "PATH=/usr/sbin:/sbin"])


def test_serve_where_another_answers(product, web, responder, check,
                                     tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    product.environment["TMPDIR"] = str(folder)
    assert "openssl does not listen at 127.0.0.1:31443" in serve_fails(
        product, check)
    assert not list(folder.iterdir())


def test_serve_cannot_answer_at_a_path(product, check):
    assert "HOST:PORT alone" in serve_fails(product, check, "-alpn",
                                            "unix:/run/responder")
