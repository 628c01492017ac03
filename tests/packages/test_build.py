# SPDX-License-Identifier: MIT
"""Packages that are well made, and the same whoever makes them."""

import hashlib
import re
import tarfile

import pytest

from conftest import ROOT, copy_sources, make
from harness.documents import command
from harness.namespace import run


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (*folder.glob("*.deb"), *folder.glob("*.tar.gz"))}


def test_two_builds_are_equal(built, tmp_path):
    other = copy_sources(tmp_path / "a folder of another name")
    for path in other.rglob("*.c"):
        path.touch()
    make(other, *command("dist/README.md", "make deb").split()[1:],
         "tarball", SOURCE_DATE_EPOCH="1700000000",
         TZ="Asia/Kathmandu", LC_ALL="C", HOME="/nonexistent")
    assert len(digests(built)) == 2
    assert digests(other / "dist") == digests(built)


def test_another_source_makes_another_package(built, tmp_path):
    """The control: what is compared above does depend on the sources."""
    other = copy_sources(tmp_path / "other")
    path = other / "src/command/version.c"
    path.write_text(path.read_text().replace("acme-alpn-proxy %s", "other %s"))
    make(other, "tarball", SOURCE_DATE_EPOCH="1700000000")
    assert not digests(other / "dist").items() & digests(built).items()


def test_lintian_has_nothing_to_say(package):
    result = run("lintian", "--no-cfg", "--allow-root", "--fail-on",
                 "error,warning", package, check=False, timeout=120)
    assert (result.returncode, result.stdout) == (0, "")


def test_tarball_holds_a_program_without_dependencies(built, tmp_path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        assert all(member.uid == member.gid == 0 and
                   member.mtime <= 1700000000 for member in archive)
        archive.extractall(tmp_path)
    (top,) = tmp_path.iterdir()
    assert "statically linked" in run("ldd", top / "sbin/acme-alpn-proxy",
                                      check=False).stdout
    assert run(top / "sbin/acme-alpn-proxy", "--version").stdout
    for name in ("README.md", "LICENSE", "share/man/man8/acme-alpn-proxy.8",
                 "lib/systemd/system/acme-alpn-proxy.service",
                 "share/acme-alpn-proxy/hooks/dehydrated"):
        assert (top / name).is_file()


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
    ("*.deb", {"hooks.md", "hosts.md"}),
    ("*.tar.gz", {"hooks.md", "hosts.md", "README.md", "SECURITY.md"})])
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


@pytest.mark.parametrize("target", ["deb", "tarball"])
def test_arm64(sources, target, tmp_path):
    path = sources / make(sources, "ARCH=arm64", target,
                          SOURCE_DATE_EPOCH="1700000000").split()[-1]
    unpack(path, tmp_path)
    if target == "deb":
        assert "libbpf1" in run("dpkg-deb", "--field", path, "Depends").stdout
    else:
        (program,) = tmp_path.rglob("sbin/acme-alpn-proxy")
        assert run("qemu-aarch64-static", program, "--version").stdout
    (program,) = tmp_path.rglob("sbin/acme-alpn-proxy")
    assert "AArch64" in run("readelf", "--file-header", program).stdout
    path.unlink()


def test_versions_agree():
    version = re.search(r"^VERSION\s*:= (.*)$",
                        (ROOT / "Makefile").read_text(), re.M).group(1)
    for name in ("Containerfile", "dist/kubernetes/daemonset.yaml"):
        assert f"acme-alpn-proxy:{version}" in (ROOT / name).read_text()
    assert f"({version})" in (ROOT / "dist/debian/changelog").read_text()
