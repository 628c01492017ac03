# SPDX-License-Identifier: MIT
"""What is told of the packages: their checksums, and of what they are made."""

import hashlib
import json
import re
from datetime import datetime, timezone

import pytest

from conftest import RELEASED
from harness.documents import command
from harness.namespace import run

# SPDX 2.3: what each kind of element must have.
MANDATORY = {
    "document": {"spdxVersion", "dataLicense", "SPDXID", "name",
                 "documentNamespace", "creationInfo"},
    "packages": {"SPDXID", "name", "downloadLocation"},
    "files": {"SPDXID", "fileName", "checksums"},
    "relationships": {"spdxElementId", "relationshipType",
                      "relatedSpdxElement"},
}
LICENSES = {"MIT", "GPL-2.0-only", "GPL-2.0-or-later", "LGPL-2.1-only",
            "LGPL-2.1-or-later", "LGPL-3.0-or-later", "BSD-2-Clause",
            "BSD-3-Clause", "Zlib", "NOASSERTION"}


@pytest.fixture(scope="module")
def sbom(built):
    (path,) = built.glob("*.spdx.json")
    return json.loads(path.read_text())


def packages(built):
    return {path.name: path for path in built.glob("acme-alpn-proxy[-_]*")}


def test_all_are_there(built):
    assert set(packages(built)) == {
        f"acme-alpn-proxy{rest}" for rest in (
            "_0.1.0_amd64.deb", "_0.1.0_arm64.deb",
            "-0.1.0-1.x86_64.rpm", "-0.1.0-1.aarch64.rpm",
            "-0.1.0-1.armv7hl.rpm", "-0.1.0-1.riscv64.rpm",
            "-0.1.0-linux-x86_64.tar.gz", "-0.1.0-linux-aarch64.tar.gz",
            "-0.1.0-linux-armv7l.tar.gz", "-0.1.0-linux-riscv64.tar.gz",
            "-0.1.0-alpine.tar.gz", "-0.1.0-arch.tar.gz", "-0.1.0.tar.gz",
            "-0.1.0.spdx.json")}


def test_checksums_are_of_all(built):
    words = command("dist/README.md", "(cd dist && sha256sum",
                    {"cd dist": f"cd {built}"})
    told = run("sh", "-euc", words).stdout
    assert {line.removesuffix(": OK") for line in told.splitlines()} == set(
        packages(built))


def test_checksums_fail_for_another_file(built, tmp_path):
    (tmp_path / "SHA256SUMS").write_text((built / "SHA256SUMS").read_text())
    for name, path in packages(built).items():
        (tmp_path / name).write_bytes(path.read_bytes() + b"\0")
    told = run("sh", "-euc", "sha256sum -c SHA256SUMS", cwd=tmp_path,
               check=False)
    assert told.returncode != 0
    assert "OK" not in told.stdout


def test_sbom_has_what_spdx_asks_for(sbom):
    assert MANDATORY["document"] <= set(sbom)
    assert sbom["spdxVersion"] == "SPDX-2.3"
    assert sbom["dataLicense"] == "CC0-1.0"
    assert sbom["SPDXID"] == "SPDXRef-DOCUMENT"
    assert re.fullmatch(r"https://[^#\s]+", sbom["documentNamespace"])
    info = sbom["creationInfo"]
    created = datetime.strptime(info["created"], "%Y-%m-%dT%H:%M:%SZ")
    assert created.replace(tzinfo=timezone.utc).timestamp() == RELEASED
    assert all(re.match(r"(Person|Organization|Tool): ", creator)
               for creator in info["creators"])
    for kind in ("packages", "files", "relationships"):
        assert sbom[kind]
        for element in sbom[kind]:
            assert MANDATORY[kind] <= set(element), element
    for package in sbom["packages"]:
        assert package["versionInfo"]
        words = re.findall(r"[\w.-]+", package["licenseDeclared"])
        assert set(words) - {"AND", "OR"} <= LICENSES


def test_sbom_knows_all_that_it_speaks_of(sbom):
    names = [element["SPDXID"] for element in
             (sbom, *sbom["packages"], *sbom["files"])]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name)
               for name in names)
    used = {relationship[end] for relationship in sbom["relationships"]
            for end in ("spdxElementId", "relatedSpdxElement")}
    assert used == set(names)


def test_sbom_has_each_file_with_its_checksum(sbom, built):
    found = packages(built)
    del found[f"{sbom['name']}.spdx.json"]
    assert {entry["fileName"] for entry in sbom["files"]} == {
        f"./{name}" for name in found}
    for entry in sbom["files"]:
        content = (built / entry["fileName"]).read_bytes()
        checksums = {checksum["algorithm"]: checksum["checksumValue"]
                     for checksum in entry["checksums"]}
        assert checksums == {
            "SHA1": hashlib.sha1(content).hexdigest(),
            "SHA256": hashlib.sha256(content).hexdigest()}


def test_sbom_says_what_a_program_is_linked_with(sbom, built):
    """The versions of this system's libraries; zstd where libelf wants it."""
    linked = {}
    for relationship in sbom["relationships"]:
        if relationship["relationshipType"].endswith("_LINK"):
            linked.setdefault(relationship["spdxElementId"], []).append(
                (relationship["relationshipType"],
                 relationship["relatedSpdxElement"]))
    of = "SPDXRef-file-acme-alpn-proxy"
    versions = [run("pkg-config", "--modversion", name).stdout.strip()
                for name in ("libbpf", "libelf", "zlib")]
    ours = {f"SPDXRef-{name}-{version}" for name, version in
            zip(("libbpf", "libelf", "zlib"), versions)}
    for name, kind in (("-0.1.0-linux-x86-64.tar.gz", "STATIC_LINK"),
                       ("-0.1.0-1.x86-64.rpm", "STATIC_LINK"),
                       ("-0.1.0-amd64.deb", "DYNAMIC_LINK")):
        libraries = linked[of + name]
        assert {each for each, _ in libraries} == {kind}
        found = {library for _, library in libraries}
        assert ours <= found
        assert len(found) == 4
    assert any("libzstd" in library for _, library in
               linked[f"{of}-0.1.0-linux-riscv64.tar.gz"])
    assert f"{of}-0.1.0.tar.gz" not in linked
