# SPDX-License-Identifier: MIT
"""Backends that are sockets of the host, by path or by abstract name."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from harness import hello
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import Recorder
from harness.visitors import LongVisitor
from harness.webserver import LISTEN, WebServer

VALIDATION = hello.hello(hello.alpn(hello.ACME))


@pytest.fixture
def folder():
    """One that the worker's user may search, unlike those of pytest."""
    made = Path(tempfile.mkdtemp(prefix="acme-system-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def serve(network, directory, path):
    """nginx with @path as one more listener."""
    return WebServer(network.server, directory,
                     listen=(*LISTEN, f"unix:{path}"))


def status(product):
    return json.loads(product.succeed("status", "--json").stdout)


def visit(network, family, web):
    visitor = LongVisitor(network.client, Network.SERVER[family], web)
    visitor.visit()
    assert visitor.peer == "unix:"
    visitor.visit(last=True)


def test_web_server_and_responder_on_paths(redirect, family, network, product,
                                           tmp_path, folder):
    path = folder / "web/socket"
    path.parent.mkdir()
    responder = Recorder(network.server, "responder",
                         path=folder / "responder")
    web = serve(network, tmp_path, path)
    product.start(f"--redirect={redirect}", "-fallback", f"unix:{path}",
                  "-alpn",
                  f"unix:{folder}/responder", "--alpn-proxy-protocol", "v1")
    visit(network, family, web)
    confinement = status(product)["confinement"]
    assert "root" not in confinement and "calls" in confinement

    address = Network.SERVER_FOR_AUTHORITY[family]
    with network.authority.connect(address, 443) as connection:
        port = connection.getsockname()[1]
        connection.sendall(VALIDATION)
        assert connection.recv(100) == responder.greeting
    recording = responder.next()
    assert recording.ended_by == "end"
    assert recording.data == (
        f"PROXY TCP{family} {Network.AUTHORITY[family]} {address} {port} "
        "443\r\n".encode() + VALIDATION)

    # A server that restarts may have its folder made anew.
    web.stop()
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    (tmp_path / "again").mkdir()
    web = serve(network, tmp_path / "again", path)
    visit(network, family, web)
    web.stop()
    responder.stop()


@pytest.fixture
def web(network, tmp_path, folder):
    made = serve(network, tmp_path, folder / "socket")
    yield made
    made.stop()


def test_no_visitor_is_turned_away(redirect, folder, product, web,
                                   send_visitors):
    visitors = send_visitors()
    visitors.wait_for_more(100)
    product.start(f"--redirect={redirect}", "-fallback",
                  f"unix:{folder}/socket")
    visitors.wait_for_more(200)
    assert status(product)["to_fallback"] > 100
    product.stop()
    visitors.wait_for_more(100)
    visitors.finish_without_failures()


def test_abstract_name(redirect, network, product):
    fallback = Recorder(network.server, "fallback", path="\0acme-fallback")
    product.start(f"--redirect={redirect}", "-fallback", "unix:@acme-fallback")
    with network.client.connect(Network.SERVER[4], 443) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(100) == fallback.greeting
    assert fallback.next().data == b"GET / HTTP/1.0\r\n\r\n"
    assert {"root", "calls"} <= set(status(product)["confinement"])
    fallback.stop()


def refused(network):
    """The proxy cannot pass a visitor on, and says so by a reset."""
    with network.client.connect(Network.SERVER[4], 443) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


@pytest.mark.parametrize("protected", ["socket", "."])
def test_missing_permission_is_told(redirect, network, product, folder,
                                    protected):
    fallback = Recorder(network.server, "fallback", path=folder / "socket")
    (folder / protected).chmod(0o700)
    product.start(f"--redirect={redirect}", "-fallback",
                  f"unix:{folder}/socket")
    refused(network)
    wait_until(lambda: "cannot connect to fallback unix:" in
               product.log_text(), what="a line in the log")
    (line,) = [line for line in product.log_text().splitlines()
               if "cannot connect" in line]
    assert line.endswith(
        f"cannot connect to fallback unix:{folder}/socket: Permission denied: "
        "let the proxy's user (--user) write to the socket and search its "
        "folders")
    (folder / protected).chmod(0o777)
    with network.client.connect(Network.SERVER[4], 443) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(100) == fallback.greeting
    fallback.stop()
