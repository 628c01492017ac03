# SPDX-License-Identifier: MIT
"""What every system test may ask for."""

import os
import signal
from pathlib import Path

import pytest

from harness import namespace as namespaces
from harness.network import Network
from harness.product import Product
from harness.visitors import Crowd, Visitors
from harness.webserver import WebServer

ROOT = Path(__file__).resolve().parents[2]


# Far more than any test needs: a test that hangs fails instead.
LIMIT_SECONDS = 150


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


@pytest.fixture(autouse=True)
def time_limit():
    def give_up(_number, _frame):
        raise TimeoutError(f"no end after {LIMIT_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("the system tests make network namespaces: run them as "
                    "root", returncode=1)
    # Ends like Ctrl-C does: all that was made is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    namespaces.remove_abandoned()


@pytest.fixture(scope="session")
def program():
    path = Path(os.environ.get("PROGRAM", ROOT / "build/acme-alpn-proxy"))
    if not path.exists():
        pytest.exit(f"{path} is not built; make builds it", returncode=1)
    return path.resolve()


@pytest.fixture(scope="session")
def tools():
    """The folder of the programs that `make tests-build` makes."""
    return Path(os.environ.get("TOOLS", ROOT / "build/tools"))


@pytest.fixture(scope="session")
def visitors_tool(tools):
    return tools / "visitors"


@pytest.fixture(params=["bpf", "iptables"])
def redirect(request):
    return request.param


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param


@pytest.fixture
def network():
    made = Network()
    yield made
    made.remove()


@pytest.fixture
def product(program, network, tmp_path):
    made = Product(program, network.server, tmp_path)
    yield made
    made.kill_all()


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
