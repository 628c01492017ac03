# SPDX-License-Identifier: MIT
"""What Arch's and Alpine's tools build from: a folder of shell and sources."""

import shlex
import tarfile

from harness.namespace import run


def unpack(built, system, folder):
    """The recipe's folder, in @folder."""
    (path,) = built.glob(f"*-{system}.tar.gz")
    with tarfile.open(path) as archive:
        assert all(member.uid == member.gid == 0 for member in archive)
        archive.extractall(folder)
    return folder / "acme-alpn-proxy"


def lint(path, shell):
    """Its variables are others' to read, and to set; it stops at an error."""
    run("shellcheck", f"--shell={shell}", "--exclude=SC2034,SC2154,SC2164",
        path)


def variables_of(path, names):
    """What each is set to: the words of a list, or the one value."""
    script = f". {shlex.quote(str(path))}\n" + "".join(
        f'printf "%s\\0" "{name}" "${{{name}[@]}}"; printf "\\n\\0"\n'
        for name in names)
    found = {}
    for record in run("bash", "-euc", script).stdout.split("\n\0"):
        name, *values = record.rstrip("\0").split("\0")
        if name:
            found[name] = values
    return found


def functions_of(path):
    return {line.split()[-1] for line in run(
        "bash", "-euc", f". {shlex.quote(str(path))}; declare -F"
    ).stdout.splitlines()}
