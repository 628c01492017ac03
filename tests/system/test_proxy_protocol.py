# SPDX-License-Identifier: MIT
"""Backends learn by a PROXY header whom the proxy relays."""

import contextlib
import ipaddress
import re
import signal
from pathlib import Path

import pytest

from harness import hello
from harness.acme import RESPONDER_PORT, Authority, Client
from harness.namespace import wait_until
from harness.network import Network
from harness.product import LISTEN_PORT
from harness.recorder import Recorder
from harness.visitors import LongVisitor
from harness.webserver import LISTEN, WebServer

MANUAL = Path(__file__).resolve().parents[2] / "man/acme-alpn-proxy.8"
# Where the web server wants a header; visitors who come without a proxy have
# none.
PORT = 8443
FALLBACK = f"127.0.0.1:{PORT}"
VALIDATION = hello.hello(hello.alpn(hello.ACME))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def serve(network, directory, **options):
    return WebServer(network.server, directory,
                     listen=(*LISTEN, f"{FALLBACK} proxy_protocol"), **options)


@pytest.fixture
def web(network, tmp_path):
    made = serve(network, tmp_path)
    yield made
    made.stop()


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


@pytest.fixture
def responder(network):
    made = Recorder(network.server, "responder", RESPONDER_PORT)
    yield made
    made.stop()


@pytest.fixture
def authority(network, tmp_path):
    made = Authority(network, tmp_path, 4)
    yield made
    made.stop()


def header(version, source, source_port, destination, port):
    """The header of that version."""
    source = ipaddress.ip_address(source)
    destination = ipaddress.ip_address(destination)
    if version == "v1":
        return (f"PROXY TCP{source.version} {source} {destination} "
                f"{source_port} {port}\r\n").encode()
    addresses = (source.packed + destination.packed +
                 hello.number(source_port, 2) + hello.number(port, 2))
    return (SIGNATURE + (b"\x21\x11" if source.version == 4 else b"\x21\x21") +
            hello.vector(addresses, 2))


def record_validation(responder, connection):
    """What the responder is sent of a validation over @connection."""
    with connection:
        connection.sendall(VALIDATION)
        assert connection.recv(100) == responder.greeting
    return responder.next().data


def test_backends_learn_of_the_client(redirect, family, version, network,
                                      product, web, responder):
    product.start(f"--redirect={redirect}", "-fallback", FALLBACK,
                  "--proxy-protocol",
                  version, "--alpn-proxy-protocol", version)
    address = Network.SERVER[family]
    visitor = LongVisitor(network.client, address, web)
    visitor.visit()
    assert visitor.through_proxy
    assert visitor.announced == [Network.CLIENT[family], str(visitor.port),
                                 address, "443"]
    visitor.visit(last=True)

    address = Network.SERVER_FOR_AUTHORITY[family]
    connection = network.authority.connect(address, 443)
    source_port = connection.getsockname()[1]
    assert record_validation(responder, connection) == header(
        version, Network.AUTHORITY[family], source_port, address,
        443) + VALIDATION


def test_balancers_header_is_for_the_web_server(redirect, version, network,
                                                product, responder):
    """A hello behind it is judged; the responder gets it only if asked."""
    before = header(version, "198.51.100.7", 50000, "203.0.113.1", 443)
    fallback = Recorder(network.server, "fallback", 443)
    visit = hello.hello(hello.alpn(b"h2"))
    for wanted in ((), ("--alpn-proxy-protocol", "v1")):
        product.start(f"--redirect={redirect}", *wanted)
        for data, backend, expected in (
                (VALIDATION, responder,
                 before + VALIDATION if wanted else VALIDATION),
                (visit, fallback, before + visit)):
            with network.client.connect(Network.SERVER[4], 443) as connection:
                connection.sendall(before + data)
                assert connection.recv(100) == backend.greeting
            assert backend.next().data == expected
        product.stop()
        product.wait_gone()
    fallback.stop()


def test_manual_gives_the_web_server_the_visitors_address(
        family, network, product, tmp_path):
    """The same one, whether they come through the proxy or not."""
    settings = "\n".join(re.findall(
        r"^(?:set_real_ip_from|real_ip_header) .*;$", MANUAL.read_text(),
        re.M))
    web = serve(network, tmp_path, settings=settings)
    for through_proxy in (False, True):
        if through_proxy:
            product.start("--redirect=steer", "-fallback", FALLBACK,
                      "--proxy-protocol",
                          "v2")
        visitor = LongVisitor(network.client, Network.SERVER[family], web)
        visitor.visit()
        assert visitor.peer == Network.CLIENT[family]
        assert bool(visitor.announced) == through_proxy
        visitor.close()
    web.stop()


def test_certificate_is_issued_while_the_web_server_gets_headers(
        redirect, network, product, web, send_visitors, authority, tmp_path):
    """lego's responder does not understand a header, and gets none."""
    visitors = send_visitors()
    product.start(f"--redirect={redirect}", "-fallback", FALLBACK,
                  "--proxy-protocol",
                  "v2")
    visitors.wait_for_more(100, "through_proxy")
    issued = Client(network.server, tmp_path, authority).issue(web.name)
    visitors.wait_for_more(100, "through_proxy")
    product.stop()
    visitors.wait_for_more(100)
    visitors.finish_without_failures()
    assert issued.names == [web.name]


def test_destination_without_a_redirect_is_the_listener(network, product,
                                                        responder):
    product.start("--no-redirect", "--alpn-proxy-protocol", "v1")
    connection = network.server.connect("127.0.0.1", LISTEN_PORT)
    port = connection.getsockname()[1]
    assert record_validation(responder, connection) == header(
        "v1", "127.0.0.1", port, "127.0.0.1", LISTEN_PORT) + VALIDATION


def test_destination_of_a_redirect_of_the_users_own(family, network, product,
                                                    responder):
    product.start("--no-redirect", "--alpn-proxy-protocol", "v1")
    iptables = {4: "iptables", 6: "ip6tables"}[family]
    network.server.run(iptables, "-t", "nat", "-A", "OUTPUT", "-p", "tcp",
                       "--dport", "443", "-j", "REDIRECT", "--to-port",
                       LISTEN_PORT)
    address = Network.SERVER[family]
    connection = network.server.connect(address, 443)
    port = connection.getsockname()[1]
    assert record_validation(responder, connection) == header(
        "v1", address, port, address, 443) + VALIDATION


HAPROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen relay
    bind {fallback} accept-proxy
    server recorder 127.0.0.1:{port} send-proxy
"""


@contextlib.contextmanager
def haproxy(network, directory, port):
    """It passes what it understood on to @port of loopback, in version 1."""
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(fallback=FALLBACK, port=port))
    process = network.server.popen("haproxy", "-db", "-f", configuration)
    try:
        wait_until(lambda: network.server.listening(PORT), what="HAProxy")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_haproxy_understands(family, version, network, product, tmp_path):
    behind = Recorder(network.server, "behind", 9443)
    with haproxy(network, tmp_path, 9443):
        product.start("--redirect=steer", "-fallback", FALLBACK,
                      "--proxy-protocol",
                      version)
        address = Network.SERVER[family]
        with network.client.connect(address, 443) as connection:
            source_port = connection.getsockname()[1]
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(100) == behind.greeting
        assert behind.next().data == header(
            "v1", Network.CLIENT[family], source_port, address,
            443) + b"GET / HTTP/1.0\r\n\r\n"
    behind.stop()
