# SPDX-License-Identifier: MIT
"""
Help, manual and completion name the same options, and what the documents tell
users to type is understood; nobody has to remember all the places.
"""

import os
import pty
import re
import select
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from harness import lego
from harness.documents import DOCUMENTS
from harness.namespace import run

ROOT = Path(__file__).resolve().parents[2]
# Where users are told what to type, and what is installed to be changed.
TOLD = (*DOCUMENTS, "SECURITY.md", "man/acme-alpn-proxy.8",
        "dist/systemd/acme-renew.service",
        "dist/systemd/acme-alpn-proxy.service", "hooks/dehydrated",
        "hooks/uacme")


@pytest.fixture(scope="module")
def helped(program):
    """What --help names: the options' and the operations' names."""
    text = run(program, "--help").stdout
    options = set(re.findall(r"^  (?:-(\w), )?--([\w-]+)", text, re.M))
    names = {name for pair in options for name in pair if name}
    operations = re.search(r"^Operations:\n((?:  .*\n)+)", text, re.M).group(1)
    return names, set(re.findall(r"^  (\w+)", operations, re.M))


@pytest.fixture(scope="module")
def completion(program, tmp_path_factory):
    """The completions as they are installed, by shell."""
    target = tmp_path_factory.mktemp("installed")
    run("make", "-s", "-C", ROOT, f"BUILD={program.parent}",
        f"DESTDIR={target}", "PREFIX=/usr", "install", timeout=600)
    data = target / "usr/share"
    return {"bash": data / "bash-completion/completions/acme-alpn-proxy",
            "zsh": data / "zsh/site-functions/_acme-alpn-proxy"}


def test_manual_and_help_name_the_same(helped):
    options, operations = helped
    source = (ROOT / "man/acme-alpn-proxy.8").read_text()
    section = source.split("\n.Sh OPTIONS\n")[1].split("\n.Sh ")[0]
    named = set()
    for line in re.findall(r"^\.It (Fl .*)$", section, re.M):
        named.update(name.lstrip("-") for name in
                     re.findall(r"Fl (-?[\w-]+)", line))
    assert named == options
    # A flag mentioned anywhere else is one that exists.
    assert {name.lstrip("-") for name in
            re.findall(r"\bFl (-?[a-z][\w-]*)", source)} <= options
    listed = source.split("\nThe operations are:\n")[1].split("\n.El\n")[0]
    assert set(re.findall(r"^\.It Cm (\w+)", listed, re.M)) == operations


def told(program):
    """The words behind @program, wherever it is called with some."""
    for document in TOLD:
        text = re.sub(r"\\e?\n\s*", " ", (ROOT / document).read_text())
        for line in re.findall(
                rf"^(?:.*[\s`\"=+])?{program} "
                r"((?:run|renew|start|stop|status|check|-)[^`\n]*)", text, re.M):
            yield document, line.split(" || ")[0].split(" && ")[0]


def test_lego_is_told_what_it_understands():
    """One version or the other; and to listen where nobody else can reach."""
    versions = set()
    for document, line in told("lego"):
        version = 5 if line.startswith("run ") else 4
        _, options = lego.parse(version, shlex.split(line))
        versions.add((document, version))
        assert ("--tls", "") in options, line
        assert (lego.RESPONDER[version], "127.0.0.1:31443") in options, line
    assert versions >= {
        ("README.md", 5), ("hooks/README.md", 4), ("hooks/README.md", 5),
        ("man/acme-alpn-proxy.8", 4), ("man/acme-alpn-proxy.8", 5),
        ("dist/systemd/acme-renew.service", 4)}


def test_options_that_are_told_exist(helped):
    options, _ = helped
    seen = set()
    for document, line in told("acme-alpn-proxy"):
        for name in re.findall(r"(?<!\S)--?([a-z][\w-]*)",
                               line.split(" -- ")[0]):
            assert name in options, f"{document}: {line}"
            seen.add(name)
    assert seen > {"bpf", "domain", "interface"}


def test_manual_is_well_formed():
    result = run("mandoc", "-T", "lint", "-W", "warning",
                 ROOT / "man/acme-alpn-proxy.8", check=False)
    assert (result.returncode, result.stdout) == (0, "")


def counters(header, name):
    """What the program is made from: the rows of an X macro."""
    table = re.search(rf"#define {name}\(X\)(.*?[^\\])\n",
                      (ROOT / "include" / header).read_text(), re.S).group(1)
    rows = re.findall(r"X\((\w+),(?:[^\"]*\"\w+\",)?[^\"]*\"(.*?)\"\)",
                      table)
    assert len(rows) == table.count("X(")
    return rows


def listed(tag):
    """Tags and their first lines in the manual's list that begins so."""
    source = (ROOT / "man/acme-alpn-proxy.8").read_text()
    section = source[source.index(f"\n.It {tag}\n"):].split("\n.El\n")[0]
    return re.findall(r"^\.It (.*)\n(.*)$", section, re.M)


def test_manual_lists_all_counters():
    for first, header, name in (
            ("open_connections", "proxy/counters.h", "PROXY_COUNTERS"),
            ("moved", "redirect/redirect.h", "REDIRECT_MOVES")):
        assert listed(f"Cm {first}") == [
            (f"Cm {name}", text) for name, text in counters(header, name)]
    assert [tag for beginning in ("hellos seen", "steered")
            for tag, _ in listed(beginning)] == [
        text for name in ("HANDOFF_COUNTERS", "STEER_COUNTERS")
        for _, text in counters("redirect/redirect.h", name)]


def test_manual_lists_what_check_tells_of():
    told_of = set()
    for source in (ROOT / "src/command").glob("check*.c"):
        told_of.update(re.findall(r'[.>]topic = "(\w+)"', source.read_text()))
    assert len(told_of) > 5
    assert {tag for tag, _ in listed("Cm name")} == {
        f"Cm {topic}" for topic in told_of}


def test_zsh_completion_names_what_help_names(helped, completion):
    options, operations = helped
    text = completion["zsh"].read_text()
    assert set(re.findall(r"^\t'(?:\*|\([^)]*\))--?([\w-]+)=?-?\[",
                          text, re.M)) == options
    assert set(re.findall(r"(\w+)\\:\"", text)) == operations


def complete_in_bash(path, *words):
    """What bash offers for the last of these words."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              # bash itself only lets a completion that it called do this.
              'compopt() { :; }; _acme_alpn_proxy; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    output = run("bash", "--norc", "-c", script, "bash", path,
                 "acme-alpn-proxy", *words).stdout
    return set(output.split())


def test_bash_completion_names_what_help_names(helped, completion):
    options, operations = helped
    path = completion["bash"]
    long = {f"--{name}" for name in options if len(name) > 1}
    assert complete_in_bash(path, "--") == long
    assert complete_in_bash(path, "-") == long
    assert complete_in_bash(path, "") == operations


def test_bash_completion_knows_the_way_of_a_command_line(completion):
    path = completion["bash"]
    assert complete_in_bash(path, "--fa") == {"--fallback"}
    assert complete_in_bash(path, "-fa") == {"-fallback"}
    assert complete_in_bash(path, "start", "--da") == {"--daemon"}
    assert complete_in_bash(path, "start", "") == set()
    assert complete_in_bash(path, "--bpf", "sto") == {"stop"}
    assert complete_in_bash(path, "--interface", "l") == {"lo"}
    assert complete_in_bash(path, "--user", "nobo") == {"nobody"}
    assert complete_in_bash(path, "--user", "=", "nobo") == {"nobody"}
    assert complete_in_bash(path, "--log-file", "/etc/pass") >= {"/etc/passwd"}
    assert complete_in_bash(path, "--log-file", "=", "/etc/pass") >= {
        "/etc/passwd"}
    assert complete_in_bash(path, "--alpn", "") == set()
    assert "openssl" in complete_in_bash(path, "run", "--", "open")


class Zsh:
    """An interactive zsh with the completion loaded."""

    def __init__(self, path, home):
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"],
                       {"PATH": os.environ["PATH"], "HOME": str(home),
                        "TERM": "dumb", "LINES": "200", "COLUMNS": "200"})
        self.type("PS1=; LISTMAX=0; stty rows 200 columns 200; "
                  f"fpath=({path.parent} $fpath)\n"
                  "autoload -U compinit; compinit -D -u; echo re''ady\n")
        self.read_until("ready")

    def type(self, text):
        os.write(self._terminal, text.encode())

    def read_until(self, *wanted):
        """What zsh writes until it has written all of @wanted."""
        text = ""
        deadline = time.monotonic() + 20
        while not all(word in text for word in wanted):
            assert time.monotonic() < deadline, f"{wanted}: {text}"
            if select.select([self._terminal], [], [], 1)[0]:
                text += os.read(self._terminal, 65536).decode()
        return text

    def close(self):
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.fixture
def zsh(completion, tmp_path):
    made = Zsh(completion["zsh"], tmp_path)
    yield made
    made.close()


def test_zsh_completes(helped, zsh):
    options, operations = helped
    zsh.type("acme-alpn-proxy --\t\t")
    zsh.read_until(*(f"--{name}" for name in options if len(name) > 1))
    zsh.type("\x15acme-alpn-proxy --prom\t")
    zsh.read_until("--prometheus")
    zsh.type("\x15acme-alpn-proxy \t\t")
    zsh.read_until(*operations, "take the redirect away")
    zsh.type("\x15acme-alpn-proxy --user=nobod\t")
    zsh.read_until("--user=nobody")
    zsh.type("\x15acme-alpn-proxy run -- openss\t")
    zsh.read_until("run -- openssl")


def test_zsh_completion_has_no_errors(completion):
    result = subprocess.run(["zsh", "-f", "-n", str(completion["zsh"])],
                            capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
