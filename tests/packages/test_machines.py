# SPDX-License-Identifier: MIT
"""The static program for each machine; an emulator runs those of others."""

import json
import tarfile

import pytest

from conftest import MACHINE, RELEASED, serve
from harness.documents import command
from harness.namespace import run
from harness.network import Network
from harness.recorder import Recorder

# As readelf calls it, and as qemu does.
MACHINES = {
    "x86_64": ("X86-64", "x86_64"), "aarch64": ("AArch64", "aarch64"),
    "armv7l": ("ARM", "arm"), "riscv64": ("RISC-V", "riscv64"),
}


@pytest.fixture(params=MACHINES, scope="module")
def machine(request):
    return request.param


@pytest.fixture(scope="module")
def folder(machine, built, tmp_path_factory):
    """The tarball's, unpacked as documented."""
    (path,) = built.glob(f"*-linux-{machine}.tar.gz")
    with tarfile.open(path) as archive:
        assert all(member.uid == member.gid == 0 and
                   member.mtime <= RELEASED for member in archive)
    target = tmp_path_factory.mktemp(machine)
    run("sh", "-euc", command("dist/README.md", "tar --extract", {
        "dist/acme-alpn-proxy-0.1.0-linux-x86_64.tar.gz": path,
        "/usr/local": target}))
    return target


@pytest.fixture
def program(machine, folder):
    """With what runs it here."""
    path = folder / "sbin/acme-alpn-proxy"
    if machine == MACHINE:
        return [path]
    return [f"qemu-{MACHINES[machine][1]}-static", path]


def test_holds_a_program_without_dependencies(machine, folder):
    path = folder / "sbin/acme-alpn-proxy"
    read = run("readelf", "--wide", "--file-header", "--program-headers",
               "--dynamic", path).stdout
    assert MACHINES[machine][0] in read
    assert "INTERP" not in read
    assert "(NEEDED)" not in read
    for name in ("README.md", "LICENSE", "share/man/man8/acme-alpn-proxy.8",
                 "lib/systemd/system/acme-alpn-proxy.service",
                 "share/acme-alpn-proxy/hooks/dehydrated"):
        assert (folder / name).is_file()


def test_is_placed_at_random(machine, folder):
    """But on armv7, whose C library has no start for it."""
    kind = "EXEC" if machine == "armv7l" else "DYN"
    assert kind in run("readelf", "--file-header",
                       folder / "sbin/acme-alpn-proxy").stdout


def test_tells_its_version(program):
    assert "static" in run(*program, "--version").stdout


def test_tells_its_options(program):
    assert "--interface" in run(*program, "--help").stdout


def test_refuses_what_it_does_not_know(program):
    result = run(*program, "start", "--unknown", check=False)
    assert result.returncode == 2
    assert "--unknown" in result.stdout


@pytest.mark.parametrize("redirect", ["none", "iptables"])
def test_serves(redirect, program):
    serve(program, redirect)


def test_checks(program):
    """From the host's addresses to the redirect that would be taken."""
    network = Network()
    web = Recorder(network.server, "web", 443, "0.0.0.0")
    try:
        told = json.loads(network.server.run(
            *program, "check", "--json", "--redirect", "iptables",
            Network.SERVER[4]).stdout)
    finally:
        web.stop()
        network.remove()
    assert told["well"]
    values = {finding["topic"]: finding["value"]
              for finding in told["findings"]}
    assert values["address"] == "own"
    assert values["server"] == "process"
    assert values["redirect"] == "iptables"
