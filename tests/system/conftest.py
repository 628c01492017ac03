# SPDX-License-Identifier: MIT
"""What every system test may ask for, beside harness/fixtures.py."""

import pytest

from harness import residue
from harness.network import Network
from harness.visitors import Crowd, Visitors
from harness.webserver import WebServer

pytest_plugins = ("harness.fixtures",)


def pytest_addoption(parser):
    parser.addoption("--shard", default="1/1", metavar="I/N",
                     help="only each Nth test, beginning with the Ith: most "
                     "of them mostly wait, so that several fit side by side")


def pytest_collection_modifyitems(config, items):
    index, count = map(int, config.getoption("--shard").split("/"))
    chosen = items[index - 1::count]
    config.hook.pytest_deselected(
        items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(params=["steer", "iptables"])
def redirect(request):
    """One by which visitors come through the proxy; a test for which that makes
    no difference has all of REDIRECTS for this name."""
    return request.param


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param


@pytest.fixture
def web(network, tmp_path):
    """nginx on the server's port 443."""
    made = WebServer(network.server, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def send_visitors(visitors_tool, network, web, tmp_path):
    """
    Call it to send visitors from the client to the web server: to the address
    of one family, or of both with half the rate each.
    """
    def send(*families, rate=Visitors.RATE):
        families = families or Network.SERVER
        return Crowd([Visitors(visitors_tool, network.client,
                               Network.SERVER[family], web, tmp_path,
                               rate=rate / len(families))
                      for family in families])
    return send


@pytest.fixture
def clean(network, web):
    """The server's network before the program touched it."""
    return residue.snapshot(network.server)
