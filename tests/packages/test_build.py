# SPDX-License-Identifier: MIT
"""Packages that are well made, and the same whoever makes them."""

import hashlib
import re

import pytest

from conftest import (DEBIAN_ARCHITECTURE, MACHINE, ROOT, copy_sources,
                      make)
from harness.namespace import run


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.glob("acme-alpn-proxy[-_]*")}


def test_two_builds_are_equal(built, tmp_path):
    other = copy_sources(tmp_path / "a folder of another name")
    for path in other.rglob("*.c"):
        path.touch()
    (other / "README.md").chmod(0o600)
    make(other, "dist", TZ="Asia/Kathmandu", LC_ALL="C", HOME="/nonexistent")
    assert len(digests(built)) == 14
    assert digests(other / "dist") == digests(built)


def test_another_source_makes_another_package(built, tmp_path):
    """The control: what is compared above does depend on the sources."""
    other = copy_sources(tmp_path / "other")
    path = other / "src/command/version.c"
    path.write_text(path.read_text().replace("acme-alpn-proxy %s", "other %s"))
    make(other, "tarball", "rpm", "arch")
    made = digests(other / "dist")
    assert len(made) == 4
    assert not made.items() & digests(built).items()


def test_sources_are_all_that_is_in_the_repository(built, sources, tmp_path):
    """And nothing that was built; they build in turn."""
    (path,) = built.glob("acme-alpn-proxy-0.1.0.tar.gz")
    unpack(path, tmp_path)
    (top,) = tmp_path.iterdir()
    listed = {name for name in run(
        "git", "-C", ROOT, "ls-files", "--cached", "--others",
        "--exclude-standard").stdout.splitlines() if (ROOT / name).is_file()}
    assert {str(path.relative_to(top)) for path in top.rglob("*")
            if not path.is_dir()} == listed


def test_lintian_has_nothing_to_say(package):
    result = run("lintian", "--no-cfg", "--allow-root", "--fail-on",
                 "error,warning", package, check=False, timeout=120)
    assert (result.returncode, result.stdout) == (0, "")


def unpack(path, folder):
    if path.suffix == ".deb":
        run("dpkg-deb", "--extract", path, folder)
    else:
        run("tar", "-xzf", path, "-C", folder)


def anchors(document):
    """What its headings are linked by."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", document.read_text(),
                                      re.M)}


@pytest.mark.parametrize("kind, documents", [
    (f"*_{DEBIAN_ARCHITECTURE}.deb", {"hooks.md", "hosts.md"}),
    (f"*-linux-{MACHINE}.tar.gz", {"hooks.md", "hosts.md", "README.md",
                                   "SECURITY.md"})])
def test_links_of_the_documents_lead_somewhere(kind, documents, built,
                                               tmp_path):
    (package,) = built.glob(kind)
    unpack(package, tmp_path)
    found = list(tmp_path.rglob("*.md"))
    assert {document.name for document in found} == documents
    seen = set()
    for document in found:
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if ":" in link:
                continue
            name, _, anchor = link.partition("#")
            target = document.parent / name if name else document
            assert target.is_file(), f"{document.name}: {link}"
            assert not anchor or anchor in anchors(target), link
            seen.add(target.name)
    assert {"dehydrated", "hooks.md", "daemonset.yaml", "logrotate"} <= seen


def test_debian_package_for_arm64(built, tmp_path):
    (path,) = built.glob("*_arm64.deb")
    unpack(path, tmp_path)
    assert "libbpf1" in run("dpkg-deb", "--field", path, "Depends").stdout
    assert "AArch64" in run("readelf", "--file-header", tmp_path /
                            "usr/sbin/acme-alpn-proxy").stdout


def test_versions_agree():
    version = re.search(r"^VERSION\s*:= (.*)$",
                        (ROOT / "Makefile").read_text(), re.M).group(1)
    for name in ("Containerfile", "dist/kubernetes/daemonset.yaml"):
        assert f"acme-alpn-proxy:{version}" in (ROOT / name).read_text()
    assert f"({version})" in (ROOT / "dist/debian/changelog").read_text()
    for name, form in (("rpm/acme-alpn-proxy.spec", "Version: {}"),
                       ("alpine/APKBUILD", "pkgver={}"),
                       ("arch/PKGBUILD", "pkgver={}"),
                       ("ansible/playbook.yml", "acme-alpn-proxy_{}_")):
        assert form.format(version) in (ROOT / "dist" / name).read_text()
