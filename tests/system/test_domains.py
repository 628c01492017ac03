# SPDX-License-Identifier: MIT
"""--domain: only the challenges for these names go to the responder."""

import ipaddress
import json
import re

import pytest

from harness import hello
from harness.acme import Authority, Client
from harness.namespace import wait_until
from harness.network import Network
from harness.recorder import Recorder

ADDRESSES = ("192.0.2.7", "2001:db8::7")
DOMAINS = ("www.example.test", "*.Example.Org", *ADDRESSES)
# The server name of a challenge, or None, and who is to answer it.
CHALLENGES = [
    (b"www.example.test", "responder"), (b"WWW.example.test", "responder"),
    (b"www.example.test.", "responder"), (b"a.example.org", "responder"),
    *((ipaddress.ip_address(address).reverse_pointer.encode(), "responder")
      for address in ADDRESSES),
    (b"example.test", "web"), (b"a.b.example.org", "web"),
    (b"example.org", "web"), (b"8.2.0.192.in-addr.arpa", "web"),
    (b"192.0.2.7", "web"), (b"www.example.test\0.example.org", "web"),
    (b"\xff\n%s", "web"), (b"a" * 255 + b".example.org", "web"),
    (b"a" * 5000, "web"), (None, "web"),
]


@pytest.fixture
def backends(network):
    made = {name: Recorder(network.server, name, port)
            for name, port in (("web", 443), ("responder", 31443))}
    yield made
    for backend in made.values():
        backend.stop()


def challenge(name):
    return hello.challenge(*[] if name is None else [name])


def ask(network, family, data):
    """Who answered."""
    with network.client.connect(Network.SERVER[family], 443) as visitor:
        visitor.sendall(data)
        return visitor.recv(100).strip().decode()


def counters(product):
    return json.loads(product.succeed("status", "--json").stdout)


def test_only_the_domains_challenges_reach_the_responder(
        redirect, family, network, product, backends):
    product.start(f"--redirect={redirect}", "-v",
                  *(f"--domain={domain}" for domain in DOMAINS))
    for name, expected in CHALLENGES:
        data = challenge(name)
        assert ask(network, family, data) == expected, name
        assert backends[expected].next().data == data
    web = sum(expected == "web" for _, expected in CHALLENGES)
    report = counters(product)
    assert report["other_domains"] == web == report["to_fallback"]
    assert report["to_alpn"] == len(CHALLENGES) - web
    # Not counted: what is no challenge.
    assert ask(network, family, b"GET / HTTP/1.0\r\n\r\n") == "web"
    assert counters(product)["other_domains"] == web
    product.stop()


def test_all_challenges_without_the_option(redirect, network, product,
                                           backends):
    product.start(f"--redirect={redirect}")
    for name, _ in CHALLENGES:
        assert ask(network, 4, challenge(name)) == "responder", name
    assert counters(product)["other_domains"] == 0
    product.stop()


def test_the_log_tells_of_others_on_request(network, product, backends):
    for words, logged in (((), False), (("-v",), True)):
        product.log.unlink(missing_ok=True)
        product.start("--redirect=steer", "--domain", ADDRESSES[0], *words)
        for name in (b"other.example\n", None):
            assert ask(network, 4, challenge(name)) == "web"
            backends["web"].next()
        told = (r"server_name=other\.example\\x0a verdict=other-domain "
                r"backend=127\.0\.0\.1:443 ",
                r"server_name= verdict=other-domain ",
                r"taking challenges for 7\.2\.0\.192\.in-addr\.arpa")
        if logged:
            wait_until(lambda: all(re.search(one, product.log_text())
                                   for one in told), what="lines of log")
        else:
            assert "other-domain" not in product.log_text()
        product.stop()
        product.wait_gone()


def test_prometheus_has_the_counter(network, product, backends):
    product.start("--redirect=steer", "--domain", "www.example.test")
    assert ask(network, 4, challenge(b"other.example")) == "web"
    text = product.succeed("status", "--prometheus").stdout
    assert "\nacme_alpn_proxy_other_domains_total 1\n" in text
    assert re.search(r"^ +1 of these challenges for other domains$",
                     product.succeed("status").stdout, re.MULTILINE)
    product.stop()


def test_certificates_are_for_the_domains_alone(network, product, web,
                                                tmp_path):
    """A real CA and client: the web server knows nothing of the challenge."""
    authority = Authority(network, tmp_path, family=4)
    client = Client(network.server, tmp_path, authority)
    product.start("--redirect=steer", "--domain", "other.example.test")
    assert client.order(web.name).returncode != 0
    product.stop()
    product.start("--redirect=steer", "--domain", web.name)
    assert client.issue(web.name).names == [web.name]
    product.stop()
    authority.stop()
