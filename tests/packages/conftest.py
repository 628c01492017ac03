# SPDX-License-Identifier: MIT
"""
Packages as an administrator gets them: built, installed, started, removed.

Not part of "make check", because they take minutes: "make check-packages".
"""

import functools
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

from harness import hello  # noqa: E402
from harness.documents import command  # noqa: E402
from harness.namespace import remove_abandoned, run  # noqa: E402
from harness.network import Network  # noqa: E402
from harness.recorder import Recorder  # noqa: E402
from debian import Debian  # noqa: E402

# SOURCE_DATE_EPOCH: no file of a package is younger.
RELEASED = 1700000000
MACHINE = platform.machine()
DEBIAN_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[MACHINE]


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("a Debian of its own can only be made by root",
                    returncode=1)
    remove_abandoned()


def copy_sources(target):
    """The sources as they are now, without anything that was built."""
    target.mkdir()
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others",
                 "--exclude-standard").stdout
    listed = "\0".join(name for name in listed.split("\0")
                       if (ROOT / name).is_file())
    subprocess.run(["cpio", "--null", "--pass-through", "--quiet",
                    "--make-directories", target], input=listed, text=True,
                   cwd=ROOT, check=True)
    return target


def make(folder, *words, **environment):
    return run("make", "-s", "-j2", "-C", folder, *words, timeout=900,
               env=dict(os.environ, SOURCE_DATE_EPOCH=str(RELEASED),
                        SYSROOTS=str(ROOT / "build/sysroots"),
                        **environment)).stdout


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return copy_sources(tmp_path_factory.mktemp("first") / "sources")


@pytest.fixture(scope="session")
def built(sources):
    """The folder with all packages."""
    make(sources, *command("dist/README.md", "make dist").split()[1:])
    return sources / "dist"


@pytest.fixture(scope="session")
def package(built):
    """The Debian package for this machine."""
    (path,) = built.glob(f"*_{DEBIAN_ARCHITECTURE}.deb")
    return path


def as_nobody(folder, *words, check=True, **environment):
    """Run a build in @folder as a user without rights, whose home it is."""
    run("chown", "-R", "nobody:nogroup", folder)
    return run("setpriv", "--reuid=nobody", "--regid=nogroup",
               "--clear-groups", *words, cwd=folder, check=check, timeout=300,
               env={"HOME": str(folder), "LC_ALL": "C",
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "SOURCE_DATE_EPOCH": str(RELEASED), **environment})


@pytest.fixture(scope="module")
def workshop():
    """Where that user gets: pytest closes its folders whenever it starts."""
    with tempfile.TemporaryDirectory(prefix="acme-packages-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def serve(program, redirect="none"):
    """@program, with what runs it, serves a visitor and a challenge."""
    network = Network()
    server = network.server
    backends = {hello.ACME: Recorder(server, "responder", 31443),
                b"h2": Recorder(server, "web", 443)}
    visitor, *way = {"none": (server, "127.0.0.1", 21443),
                     "iptables": (network.client, Network.SERVER[4], 443),
                     }[redirect]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        server_run = functools.partial(server.run, *program, env={
            **os.environ, "ACME_ALPN_PROXY_PIDFILE": f"{folder}/pid"})
        try:
            server_run("start", "--daemon", "--redirect", redirect,
                       "--log-file", log)
            for protocol, backend in backends.items():
                with visitor.connect(*way) as connection:
                    connection.sendall(hello.hello(hello.alpn(protocol)))
                    assert connection.recv(100) == backend.greeting
            assert f"redirect: {redirect}" in server_run("status").stdout
            server_run("stop", "--wait")
            assert "1 to the ACME responder, 1 to the web server" in \
                log.read_text()
        finally:
            for backend in backends.values():
                backend.stop()
            network.remove()


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """A Debian with what the package depends on, in a folder."""
    return Debian(tmp_path_factory.mktemp("debian"))
