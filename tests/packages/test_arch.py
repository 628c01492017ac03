# SPDX-License-Identifier: MIT
"""Arch's package, by its own tools, which Debian has: built, installed."""

import tarfile

import pytest

import recipe
from conftest import MACHINE, as_nobody
from contents import LICENSE, MANUAL, SHARED, UNIT
from harness.documents import command
from harness.namespace import run

MANDATORY = ("pkgname", "pkgver", "pkgrel", "arch", "pkgdesc", "url",
             "license", "depends", "makedepends", "source", "sha256sums")
FILES = {**SHARED, "usr/bin/acme-alpn-proxy": 0o755, UNIT: 0o644,
         f"{MANUAL}.gz": 0o644, LICENSE: 0o644}


def makepkg(folder, *words, **options):
    """As documented; pacman does not know what this system has."""
    documented = command("dist/README.md", "makepkg", {
        "--syncdeps --install": "--nodeps"}).split()
    return as_nobody(folder, *documented, "--noconfirm", *words,
                     PKGEXT=".pkg.tar", CARCH=MACHINE, **options)


@pytest.fixture(scope="module")
def package(built, workshop):
    folder = recipe.unpack(built, "arch", workshop)
    makepkg(folder)
    (path,) = folder.glob("*.pkg.tar")
    return path


def test_recipe_is_well_formed(built, tmp_path):
    folder = recipe.unpack(built, "arch", tmp_path)
    path = folder / "PKGBUILD"
    recipe.lint(path, "bash")
    recipe.lint(folder / "acme-alpn-proxy.install", "bash")
    assert all(all(values) for values in
               recipe.variables_of(path, MANDATORY).values())
    assert recipe.functions_of(path) == {"build", "package"}
    assert {entry.name for entry in folder.iterdir()} == {
        "PKGBUILD", "acme-alpn-proxy.install", "acme-alpn-proxy-0.1.0.tar.gz"}


def test_other_sources_are_refused(built, workshop):
    """The checksum is that of the sources."""
    folder = recipe.unpack(built, "arch", workshop / "refused")
    (sources,) = folder.glob("*.tar.gz")
    with open(sources, "ab") as stream:
        stream.write(b"\0")
    result = makepkg(folder, "--verifysource", check=False)
    assert result.returncode != 0
    assert "did not pass the validity check" in result.stdout


def test_files_and_their_modes(package):
    with tarfile.open(package) as archive:
        members = {member.name: member for member in archive
                   if not member.isdir()}
    assert all(member.uid == member.gid == 0 for member in members.values())
    assert {name: member.mode for name, member in members.items()
            if not name.startswith(".")} == FILES


def test_installs_and_is_removed_without_a_trace(debian, package):
    kept = debian.root / "root/pacman"

    def pacman(*words):
        return run("pacman", "--noconfirm", "--root", debian.root, "--dbpath",
                   kept, "--cachedir", kept, "--logfile", "/dev/null",
                   "--hookdir", "/none", "--gpgdir", "/none", "--config",
                   "/dev/null", *words, "--nodeps", "--nodeps")

    kept.mkdir()
    before = debian.files()
    pacman("--upgrade", package)
    assert debian.run("acme-alpn-proxy", "--version").stdout
    assert (debian.root / "usr/bin/acme-alpn-proxy").exists()
    pacman("--remove", "acme-alpn-proxy")
    assert debian.files() == before
