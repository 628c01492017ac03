# SPDX-License-Identifier: MIT
"""
Packages as an administrator gets them: built, installed, started, removed.

Not part of "make check", because they take minutes: "make check-packages".
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

from harness.namespace import remove_abandoned, run  # noqa: E402
from debian import Debian  # noqa: E402


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
               env=dict(os.environ, **environment)).stdout


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return copy_sources(tmp_path_factory.mktemp("first") / "sources")


@pytest.fixture(scope="session")
def built(sources):
    """The folder with the Debian package and the tarball."""
    make(sources, "deb", "tarball", SOURCE_DATE_EPOCH="1700000000")
    return sources / "dist"


@pytest.fixture(scope="session")
def package(built):
    (path,) = built.glob("*.deb")
    return path


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """A Debian with what the package depends on, in a folder."""
    return Debian(tmp_path_factory.mktemp("debian"))
