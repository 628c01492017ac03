# SPDX-License-Identifier: MIT
"""
The redirect in front of real container engines; "make check-containers".

What these tests share with the system tests comes from there. An engine that
cannot be used on this machine is skipped, and the reason is told.
"""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

from engines import (Docker, Pasta, Podman, RootlessPodman,  # noqa: E402
                     Unavailable, make_image)
from harness.network import Network  # noqa: E402
from harness.visitors import Crowd, Visitors  # noqa: E402
from harness.webserver import Site  # noqa: E402

pytest_plugins = ("harness.fixtures",)

IPV6 = ("--ipv6", "--fixed-cidr-v6", "fd17::/64", "--ip6tables",
        "--experimental")
ENGINES = {
    # Published on IPv6 by its proxy process alone.
    "docker": lambda *where: Docker(*where),
    "docker-ipv6": lambda *where: Docker(*where, *IPV6),
    "docker-without-proxy": lambda *where: Docker(
        *where, *IPV6, "--userland-proxy=false"),
    "podman": lambda *where: Podman(*where),
    "podman-cni": lambda *where: Podman(*where, "cni"),
    "rootless-podman": lambda *where: RootlessPodman(*where),
}
# For tests of it alone.
OTHER_ENGINES = {
    # Containers outlive it.
    "docker-live-restore": lambda *where: Docker(*where, "--live-restore"),
    "pasta": lambda *where: Pasta(*where),
}
# Of visitors, to each address.
RATE = 30
# Where containers have IPv6 addresses.
IPV6_ENGINES = ("docker-ipv6", "docker-without-proxy", "podman",
                "podman-cni")


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """An archive to make an image of, with nothing but nginx in it."""
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def engine_name():
    """Tests that are for some of the engines only say which."""
    return "docker"


@pytest.fixture
def engine(engine_name, image, network, tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    made = None
    try:
        make = {**ENGINES, **OTHER_ENGINES}[engine_name]
        made = make(network.server, folder, image)
    except (Unavailable, FileNotFoundError) as reason:
        pytest.skip(f"no {engine_name} here: {reason}")
    yield made
    made.stop()


@pytest.fixture
def families(engine_name):
    """What containers can reach the outside with."""
    return (4, 6) if engine_name in IPV6_ENGINES else (4,)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path, "container.example.test")


@pytest.fixture
def container(engine, site):
    made = engine.run_container(site)
    yield made
    made.remove()


@pytest.fixture
def strict_firewall(network):
    """
    Whatever is forwarded to a container does not pass the INPUT rules, so
    they need not accept the port.
    """
    for command in ("iptables", "ip6tables"):
        for rule in (("-A", "INPUT", "-i", "lo", "-j", "ACCEPT"),
                     ("-A", "INPUT", "-m", "conntrack", "--ctstate",
                      "ESTABLISHED,RELATED", "-j", "ACCEPT"),
                     ("-P", "INPUT", "DROP")):
            network.server.run(command, *rule)
    # Without neighbour discovery there is no IPv6.
    network.server.run("ip6tables", "-A", "INPUT", "-p", "icmpv6", "-j",
                       "ACCEPT")


@pytest.fixture
def send_visitors(visitors_tool, network, site, tmp_path):
    """They accept no certificate but the container's."""
    def send():
        return Crowd([Visitors(visitors_tool, network.client, address, site,
                               tmp_path, rate=RATE)
                      for address in Network.SERVER.values()])
    return send
