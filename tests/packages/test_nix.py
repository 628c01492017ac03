# SPDX-License-Identifier: MIT
"""
The Nix expression, by the nix that Debian has. There is no nixpkgs here: what
it asks of that is Debian's (nixpkgs.nix), so that its names are not proved.
"""

import os
import re
from pathlib import Path

import pytest

from conftest import ROOT, as_nobody, copy_sources, serve
from contents import MANUAL, SHARED, UNIT
from harness.documents import command

EXPRESSION = "dist/nix/package.nix"
PROGRAM = "bin/acme-alpn-proxy"
FILES = {name.removeprefix("usr/"): mode
         for name, mode in {**SHARED, MANUAL: 0o644, UNIT: 0o644}.items()}
SETTINGS = """
sandbox = false
substitute = false
build-users-group =
"""


@pytest.fixture(scope="module")
def nix(workshop):
    """Call it: a command in the sources, with a store of its own."""
    copy_sources(workshop / "sources")

    def call(words):
        return as_nobody(
            workshop, "sh", "-euc", f"cd sources; {words}",
            NIX_PATH=f"nixpkgs={workshop}/sources/tests/packages/nixpkgs.nix",
            NIX_CONFIG=SETTINGS,
            **{f"NIX_{name}_DIR": f"{workshop}/nix/{name}"
               for name in ("CONF", "LOG", "STATE", "STORE")}).stdout
    return call


@pytest.fixture(scope="module")
def package(nix):
    """What the documented command builds."""
    return Path(nix(command("dist/README.md", "nix-build") +
                    " --no-out-link").splitlines()[-1])


def test_is_well_formed(nix):
    nix(f"nix-instantiate --parse {EXPRESSION}")


def test_version_is_that_of_the_sources():
    def version(path, form):
        return re.search(form, (ROOT / path).read_text(), re.M).group(1)

    assert version(EXPRESSION, r'^  version = "(.*)";$') == version(
        "Makefile", r"^VERSION\s*:= (.*)$")


def test_files(package):
    """Nix leaves nothing of their modes but whether they can be executed."""
    assert {str(path.relative_to(package)): os.access(path, os.X_OK)
            for path in package.rglob("*") if not path.is_dir()} == {
        PROGRAM: True, **{name: bool(mode & 0o111)
                          for name, mode in FILES.items()}}


def test_unit_finds_the_program(package):
    """systemd has no folder of NixOS' to look in."""
    unit = (package / UNIT.removeprefix("usr/")).read_text()
    assert re.findall(r"(\S*acme-alpn-proxy) --log-file", unit) == [
        f"ExecStart={package / PROGRAM}", str(package / PROGRAM)]


def test_program_serves(package):
    serve([package / PROGRAM])
