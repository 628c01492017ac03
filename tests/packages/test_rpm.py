# SPDX-License-Identifier: MIT
"""The RPM package: what is in it, and what it does to a host."""

import os
import stat
import subprocess

import pytest

from conftest import MACHINE, RELEASED
from contents import (DOCUMENTS, HOOKS, LICENSE, MANUAL, SHARED, UNIT)
from debian import Machine
from harness.documents import command
from harness.namespace import run

DATABASE = ("--dbpath", "/root/rpm")
INSTALL = command("dist/README.md", "rpm --install", {
    "dist/acme-alpn-proxy-0.1.0-1.x86_64.rpm": "/root/package.rpm",
    # That system has other names for what this one brings along.
    "--install": "--install --nodeps"}).split()
ERASE = ("rpm", *DATABASE, "--erase", "acme-alpn-proxy")
PROGRAM = "usr/sbin/acme-alpn-proxy"
LOG = "var/log/acme-alpn-proxy.log"
FILES = {
    **SHARED, PROGRAM: 0o755, UNIT: 0o644, MANUAL: 0o644, LICENSE: 0o644,
    # Not in the package, but gone with it.
    LOG: 0o600,
}
FOLDERS = {HOOKS, os.path.dirname(HOOKS), DOCUMENTS, f"{DOCUMENTS}/examples",
           os.path.dirname(LICENSE)}


@pytest.fixture(scope="module")
def rpm(built):
    (path,) = built.glob(f"*.{MACHINE}.rpm")
    return path


def query(path, form):
    return run("rpm", "--query", "--package", "--queryformat", form,
               path).stdout


def test_files_and_their_modes(rpm):
    lines = query(rpm, "[%{FILENAMES} %{FILEMODES} %{FILEUSERNAME} "
                       "%{FILEGROUPNAME} %{FILEMTIMES}\n]").splitlines()
    files, folders = {}, set()
    for line in lines:
        name, mode, user, group, time = line.split()
        assert (user, group) == ("root", "root")
        assert int(time) <= RELEASED
        if stat.S_ISDIR(int(mode)):
            folders.add(name[1:])
            assert stat.S_IMODE(int(mode)) == 0o755
        else:
            files[name[1:]] = stat.S_IMODE(int(mode))
    assert files == FILES
    assert folders == FOLDERS


def test_needs_nothing_of_a_distribution(rpm):
    """Neither libraries nor packages by name."""
    needs = query(rpm, "[%{REQUIRENAME}\n]").split()
    assert {name for name in needs if not name.startswith("rpmlib(")} <= {
        "/bin/sh", "rtld(GNU_HASH)"}
    assert query(rpm, "%{LICENSE} %{BUILDHOST}") == "MIT localhost"


def test_script_stops_only_when_it_is_erased(rpm, tmp_path):
    """An update leaves alone what runs."""
    script = query(rpm, "%{PREUN}")
    (tmp_path / "acme-alpn-proxy").write_text("#!/bin/sh\necho \"$@\"\n")
    (tmp_path / "acme-alpn-proxy").chmod(0o755)
    (tmp_path / "systemctl").symlink_to("/bin/true")
    path = f"{tmp_path}:{os.environ['PATH']}"
    for count, told in (("0", "stop\n"), ("1", "")):
        assert run("sh", "-euc", script, "preun", count,
                   env={"PATH": path}).stdout == told


def test_installs_and_is_erased_without_a_trace(debian, rpm):
    debian.offer(rpm)
    before = debian.files()
    debian.run(INSTALL[0], *DATABASE, *INSTALL[1:])
    assert "static" in debian.run("acme-alpn-proxy", "--version").stdout
    debian.run("rpm", *DATABASE, "--verify", "--nodeps", "acme-alpn-proxy")
    (debian.root / LOG).write_text("a line\n")
    debian.run(*ERASE)
    # Systems with RPM have these anyway.
    for folder in ("licenses", "zsh/site-functions"):
        (debian.root / "usr/share" / folder).rmdir()
    assert debian.files() == before
    assert not (debian.root / LOG).exists()


def test_erasing_it_stops_the_service(debian, rpm):
    debian.offer(rpm)
    machine = Machine(debian)
    try:
        machine.run(INSTALL[0], *DATABASE, *INSTALL[1:])
        machine.run("systemctl", "start", "acme-alpn-proxy")
        assert "running as" in machine.run("acme-alpn-proxy", "status").stdout
        machine.run(*ERASE)
        machine.shell("! pgrep -x acme-alpn-proxy; ! ls /run/acme-alpn-proxy* "
                      "2>/dev/null")
    finally:
        machine.stop()


def test_spec_builds_from_the_sources(built, tmp_path):
    """Without our settings: linked with the libraries of the system."""
    words = command("dist/README.md", "rpmbuild", {
        "dist/": f"{built}/"}).split()
    (sources,) = [word for word in words if word.endswith(".tar.gz")]
    result = run(*words, "--nodeps", "--define", f"_topdir {tmp_path}",
                 "--dbpath", tmp_path / "database", check=False, timeout=300)
    assert result.returncode == 0, result.stdout
    (path,) = tmp_path.glob("RPMS/*/*.rpm")
    assert "libbpf.so.1" in query(path, "[%{REQUIRENAME}\n]")
    archive = subprocess.run(["rpm2cpio", path], check=True,
                             stdout=subprocess.PIPE).stdout
    subprocess.run(["cpio", "-id", "--quiet"], input=archive, check=True,
                   cwd=tmp_path)
    assert "dynamic" in run(tmp_path / PROGRAM, "--version").stdout
