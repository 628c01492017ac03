# SPDX-License-Identifier: MIT
"""
Several hosts behind one address: a validation comes to any of them, and only
one place can answer it. Every host runs the program, and all of them send
acme-tls/1 to the central responder:

    authority 198.51.100.2 --- .1 balancer 10.0.0.254 --+-- 10.0.0.1 node 1
                                                        +-- 10.0.0.2 node 2
                                                        +-- 10.0.0.3 node 3
                                                        +-- 10.0.0.9 responder

The balancer gives new connections to 198.51.100.1:443 to the nodes in turn.
"""

import hashlib
import json
import shlex
import ssl
import threading

import pytest

from harness.acme import Authority, Client
from harness.documents import command
from harness.namespace import add_address, link
from harness.network import Hosts, Network
from harness.product import Product
from harness.webserver import WebServer

NODES = (1, 2, 3)
RESPONDER = "10.0.0.9"
NAME = "www.example.test"


class Fleet(Hosts):
    def _make(self):
        self.balancer = self._add("balancer")
        self.authority = self._add("authority")
        self.nodes = [self._add(f"node{number}") for number in NODES]
        self.responder = self._add("responder")
        self._connect()
        self._balance()

    def _connect(self):
        balancer = self.balancer
        balancer.sysctl("net.ipv4.ip_forward", 1)
        balancer.run("ip", "link", "add", "name", "inside", "type", "bridge")
        balancer.run("ip", "link", "set", "inside", "up")
        add_address(balancer, "inside", "10.0.0.254/24")
        for host, address in zip((*self.nodes, self.responder),
                                 ("10.0.0.1", "10.0.0.2", "10.0.0.3",
                                  RESPONDER)):
            link(balancer, host.label, host, "eth0")
            balancer.run("ip", "link", "set", host.label, "master", "inside")
            add_address(host, "eth0", f"{address}/24")
            host.run("ip", "route", "add", "default", "via", "10.0.0.254")
        link(balancer, "outside", self.authority, "server")
        outside = Network.SERVER_FOR_AUTHORITY[4]
        add_address(balancer, "outside", f"{outside}/24")
        add_address(self.authority, "server", f"{Network.AUTHORITY[4]}/24")
        self.authority.run("ip", "route", "add", "default", "via", outside)

    def _balance(self):
        nodes = ", ".join(f"{number - 1} : 10.0.0.{number}"
                          for number in NODES)
        self.balancer.run("nft", f"""
            table ip balance {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    iifname outside tcp dport 443 dnat to numgen inc mod 3 \
                        map {{ {nodes} }}
                }}
            }}""")


@pytest.fixture
def fleet():
    made = Fleet()
    yield made
    made.remove()


@pytest.fixture
def webs(fleet, tmp_path):
    made = []
    for node in fleet.nodes:
        folder = tmp_path / node.label
        folder.mkdir()
        made.append(WebServer(node, folder, NAME))
    yield made
    for web in made:
        web.stop()


@pytest.fixture
def products(program, fleet, tmp_path):
    made = [Product(program, node, tmp_path / node.label)
            for node in fleet.nodes]
    yield made
    for product in made:
        product.kill_all()


@pytest.fixture
def authority(fleet, tmp_path):
    made = Authority(fleet, tmp_path, 4)
    yield made
    made.stop()


class Guests(threading.Thread):
    """Visit the one address again and again; remember who answered."""

    def __init__(self, namespace):
        super().__init__()
        self._namespace = namespace
        self._over = threading.Event()
        self.seen = []

    def visit(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        address = Network.SERVER_FOR_AUTHORITY[4]
        with self._namespace.connect(address, 443) as connection, \
                context.wrap_socket(connection,
                                    server_hostname=NAME) as guest:
            der = guest.getpeercert(binary_form=True)
            return hashlib.sha256(der).hexdigest()

    def run(self):
        while not self._over.is_set():
            try:
                self.seen.append(self.visit())
            except OSError as error:
                self.seen.append(repr(error))

    def finish(self):
        self._over.set()
        self.join()
        return self.seen


def validations(product):
    report = json.loads(product.succeed("status", "--json").stdout)
    return report["to_alpn"]


def test_one_responder_for_a_fleet(fleet, webs, products, authority, tmp_path):
    guests = Guests(fleet.authority)
    guests.start()
    text = command("dist/README.md",
                   "acme-alpn-proxy start --daemon --bpf -alpn")
    assert f"{RESPONDER}:31443" in text
    for product in products:
        product.succeed(*shlex.split(text)[1:])
    client = Client(fleet.responder, tmp_path, authority, RESPONDER)
    # Guests take turns too, so that one order may not reach every node.
    for _ in range(10):
        issued = client.issue(NAME)
        if all(map(validations, products)):
            break
    assert issued.names == [NAME]
    assert "Pebble" in issued.issuer
    assert all(map(validations, products))
    for product in products:
        product.stop()
    seen = guests.finish()
    assert len(seen) > 10
    assert set(seen) == {web.certificate.fingerprint for web in webs}
