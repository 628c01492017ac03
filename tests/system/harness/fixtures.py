# SPDX-License-Identifier: MIT
"""What every test with a network of its own may ask for, a pytest plugin."""

import os
import signal
from pathlib import Path

import pytest

from . import namespace as namespaces
from .network import Network
from .product import Product
from .recorder import Recorder

ROOT = Path(__file__).resolve().parents[3]

# Far more than any test needs: a test that hangs fails instead.
LIMIT_SECONDS = 400


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
        pytest.exit("these tests make network namespaces: run them as "
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
def responder(network):
    made = Recorder(network.server, "responder", 31443)
    yield made
    made.stop()
