# SPDX-License-Identifier: MIT
"""
Alpine's package. Debian does not have its tools, so that its functions are
called here as those would: as a user without rights, with musl.
"""

import re
import stat

import pytest

import recipe
from conftest import as_nobody, serve
from contents import MANUAL, SHARED
from harness.namespace import run

MANDATORY = ("pkgname", "pkgver", "pkgrel", "pkgdesc", "url", "arch",
             "license", "makedepends", "source", "sha512sums")
FILES = {**SHARED, "usr/sbin/acme-alpn-proxy": 0o755, MANUAL: 0o644}
BUILD = """
. ./APKBUILD
srcdir=$PWD/src
pkgdir=$PWD/pkg
builddir=$srcdir/$pkgname-$pkgver
printf '%s' "$sha512sums" | sed '/^$/d' | sha512sum --check --strict --quiet
mkdir "$srcdir" "$pkgdir"
tar -xzf "$pkgname-$pkgver.tar.gz" -C "$srcdir"
(cd "$builddir" && build)
(cd "$builddir" && package)
"""


def musl(folder):
    """
    The settings of a build with musl on Debian: the kernel's and libbpf's
    headers are for any C library; what libbpf calls of glibc leads nowhere.
    """
    include, library = folder / "include", folder / "lib"
    (include / "sys").mkdir(parents=True)
    library.mkdir()
    triplet = run("gcc", "-print-multiarch").stdout.strip()
    for name in ("linux", "asm-generic", "bpf", "libelf.h"):
        (include / name).symlink_to(f"/usr/include/{name}")
    for name in ("asm", "sys/queue.h"):
        (include / name).symlink_to(f"/usr/include/{triplet}/{name}")
    for name in ("libbpf.a", "libelf.a", "libz.a"):
        (library / name).symlink_to(f"/usr/lib/{triplet}/{name}")
    return {"CC": f"musl-gcc -idirafter {include}",
            "LDFLAGS": f"-static -L{library} "
                       "-Wl,--unresolved-symbols=ignore-all"}


@pytest.fixture(scope="module")
def package(built, workshop):
    """What package() installed."""
    folder = recipe.unpack(built, "alpine", workshop)
    as_nobody(folder, "dash", "-euc", BUILD, **musl(folder / "musl"))
    return folder / "pkg"


def test_recipe_is_well_formed(built, tmp_path):
    folder = recipe.unpack(built, "alpine", tmp_path)
    path = folder / "APKBUILD"
    script = "acme-alpn-proxy.pre-deinstall"
    recipe.lint(path, "dash")
    recipe.lint(folder / script, "dash")
    found = recipe.variables_of(path, MANDATORY)
    assert all(all(values) for values in found.values())
    assert recipe.functions_of(path) == {"build", "package"}
    (sources,) = found["source"]
    assert {entry.name for entry in folder.iterdir()} == {
        "APKBUILD", *sources.split()}
    (checksums,) = found["sha512sums"]
    assert re.findall(r"^[0-9a-f]{128}  (.*)$", checksums,
                      re.M) == sources.split()


def test_files_and_their_modes(package):
    assert {str(path.relative_to(package)): stat.S_IMODE(path.stat().st_mode)
            for path in package.rglob("*") if not path.is_dir()} == FILES


def test_program_runs_with_musl(package):
    program = package / "usr/sbin/acme-alpn-proxy"
    assert "libc.so" not in run("readelf", "--dynamic", program).stdout
    serve([program])
