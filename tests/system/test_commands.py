# SPDX-License-Identifier: MIT
"""
The documents: each command in them is run by a test, each message that they
explain is in the sources, and each of their links leads somewhere.
"""

import os
import re
import shlex
import xml.etree.ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.documents import DOCUMENTS, ROOT, command, commands
from harness.namespace import run, wait_until
from harness.network import Network
from harness.visitors import LongVisitor

HERE = "tests/system/test_commands.py::"
HOOKS = "tests/system/test_hooks.py::"
DEBIAN = "tests/packages/test_debian.py::"
CONTAINER = "tests/packages/test_container.py::"

# How each command begins, and who runs it. A test takes the text from the
# document, by harness.documents.command(), wherever it can.
RUN_BY = {
    "README.md": {
        "make demo": HERE + "test_demo",
        # Whoever reads this.
        "make check": HERE + "test_check_runs_the_tests",
        "tests/install-packages build": HERE + "test_build_needs",
        "make && make install": HERE + "test_make_and_install",
        "acme-alpn-proxy run -- lego run": HOOKS + "test_lego",
        "acme-alpn-proxy run -- lego --path": HOOKS + "test_lego_renews",
        "acme-alpn-proxy check": "tests/system/test_check.py::"
                                 "test_text_is_for_people",
    },
    "hooks/README.md": {
        "acme-alpn-proxy start --daemon":
            HOOKS + "test_lego_between_start_and_stop",
        "acme-alpn-proxy stop": HOOKS + "test_lego_between_start_and_stop",
        "acme-alpn-proxy run -- lego run": HOOKS + "test_lego_renews",
        "acme-alpn-proxy run -- lego --path": HOOKS + "test_lego_renews",
        "dehydrated --register": HOOKS + "test_dehydrated",
        "dehydrated --cron": HOOKS + "test_dehydrated",
        "uacme new": HOOKS + "test_uacme",
        "uacme --hook": HOOKS + "test_uacme",
        "acme-alpn-proxy run -- uacme":
            HOOKS + "test_uacme_with_several_names_in_one_run",
        "acme.sh --issue": HOOKS + "test_acme_sh",
        # No lego that could is here: only what it is told is tested.
        "acme-alpn-proxy --domain 203.0.113.7 run -- lego":
            "tests/system/test_documentation.py::"
            "test_lego_is_told_what_it_understands",
        "PROXY_OPTIONS=": HOOKS + "test_uacme_with_an_address",
        "/usr/local/share/acme-alpn-proxy/hooks/due":
            HOOKS + "test_nothing_starts_unless_it_is_due",
    },
    "dist/README.md": {
        "acme-alpn-proxy start --daemon --bpf -alpn":
            "tests/system/test_fleet.py::test_one_responder_for_a_fleet",
        "acme-alpn-proxy start --daemon --bpf": HERE + "test_a_look_at_it",
        "acme-alpn-proxy status": HERE + "test_a_look_at_it",
        "acme-alpn-proxy stop --wait": HERE + "test_a_look_at_it",
        **dict.fromkeys(
            ("systemctl start acme-alpn", "systemctl stop"),
            DEBIAN + "test_service_serves_and_leaves_nothing"),
        **dict.fromkeys(
            ("useradd", "cp /usr/local/share/doc",
             "systemctl start acme-renew", "journalctl"),
            DEBIAN + "test_renewal_runs_unprivileged_behind_the_service"),
        "systemctl enable": DEBIAN + "test_timer_is_enabled",
        "nft add rule": HERE + "test_rule_for_a_firewall_of_ones_own",
        "cd /var/lib/prometheus": HERE + "test_file_for_node_exporter",
        "make dist": "tests/packages/test_release.py::test_all_are_there",
        "(cd dist && sha256sum":
            "tests/packages/test_release.py::test_checksums_are_of_all",
        "rpm --install":
            "tests/packages/test_rpm.py::"
            "test_installs_and_is_erased_without_a_trace",
        "rpmbuild -ta":
            "tests/packages/test_rpm.py::test_spec_builds_from_the_sources",
        "makepkg": "tests/packages/test_arch.py::test_files_and_their_modes",
        "abuild": "tests/packages/test_alpine.py::test_files_and_their_modes",
        "nix-build": "tests/packages/test_nix.py::test_files",
        "tar --extract":
            "tests/packages/test_release.py::test_all_are_there",
        "ansible-playbook":
            "tests/packages/test_ansible.py::test_host_renews_afterwards",
        "dpkg --install": DEBIAN + "test_installs_and_is_purged_without_a_trace",
        "kubectl": CONTAINER + "test_documented_kubectl",
        "make STATIC=1": CONTAINER + "test_documented_container",
        "buildah build": CONTAINER + "test_documented_container",
        "podman run": CONTAINER + "test_documented_container",
    },
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_command_is_run_by_a_test(document):
    """Fails for a new command until a test runs it, named in RUN_BY."""
    known = RUN_BY[document]
    unused = set(known)
    for line in commands(document):
        beginnings = [text for text in known if line.startswith(text)]
        assert beginnings, f"{document}: no test runs: {line}"
        unused.discard(max(beginnings, key=len))
    assert not unused, f"{document} has no such command any more: {unused}"
    for test in known.values():
        path, name = test.split("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.M), (
            f"there is no {test}")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_in_blocks_that_are_looked_at(document):
    text = (ROOT / document).read_text()
    assert set(re.findall(r"^```(\w*)$", text, re.M)) <= {"sh", "ini", ""}
    # A fence ends what it began, and nothing is code by indentation alone.
    assert text.count("\n```") % 2 == 0
    assert not re.search(r"^\n    \S", text, re.M)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    """Pictures too."""
    text = (ROOT / document).read_text()
    for target in re.findall(r"\[[^]]*\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = ROOT / os.path.dirname(document) / name
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(
                " ", "-") for title in headings}, target


def test_files_that_are_named_exist():
    """In README's part about the inside; some by their name alone."""
    section = (ROOT / "README.md").read_text().split("\n## Inside\n")[1]
    named = re.findall(r"`([\w./-]+(?:/|\.[a-z]+))`", section)
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).exists() or (
            "/" not in name and list((ROOT / "src").rglob(name))), name


def literals():
    """All strings of the sources, those in pieces put together."""
    for path in (*(ROOT / "src").rglob("*.c"),
                 *(ROOT / "include").rglob("*.h")):
        text = re.sub(r'"\s*\n\s*"', "", path.read_text())
        yield from re.findall(r'"((?:[^"\\\n]|\\.)+)"', text)
        # It adds what the error is.
        yield from (f"{begin}: %s" for begin in re.findall(
            r'\blog_failure\([^";]*"((?:[^"\\\n]|\\.)+)"', text))


def test_messages_that_are_explained_exist():
    text = (ROOT / "man/acme-alpn-proxy.8").read_text()
    section = text.split("\n.Sh DIAGNOSTICS\n")[1].split("\n.Sh ")[0]
    heads = re.findall(r"^\.It (.*)$", section, re.M)
    messages = [quoted for head in heads
                for quoted in re.findall(r'Sy "([^"]+)"', head)]
    assert len(messages) > 10
    limits = text.split("\n.Sh KNOWN LIMITS\n")[1].split("\n.Sh ")[0]
    messages += re.findall(r"^\.Dq (.*?)(?: [;.,])?$", limits, re.M)
    found = list(literals())
    for message in messages:
        pieces = [piece for piece in message.split("...") if piece.strip()]
        assert any(all(piece in literal for piece in pieces)
                   for literal in found), f"no message says: {message}"


def test_demo(program):
    """The script behind `make demo`, with fewer visits."""
    assert re.search(r"^demo:(\n\t.*)*tests/demo/demo$",
                     (ROOT / "tests/tests.mk").read_text(), re.M)
    result = run(ROOT / "tests/demo/demo", timeout=300,
                 env=dict(os.environ, PROGRAM=str(program),
                          BUILD=str(program.parent), PAUSE_VISITS="20"))
    assert re.search(r"^certificate subject  CN=", result.stdout, re.M)
    assert re.search(r"^visits through proxy 0$", result.stdout, re.M)
    assert re.search(r"^failed visits +0$", result.stdout, re.M)


def test_check_runs_the_tests():
    recipe = re.search(r"^check:\n((?:\t.*\n)+)",
                       (ROOT / "tests/tests.mk").read_text(), re.M).group(1)
    assert "tests/run" in recipe


def test_build_needs():
    """All of it is here: whatever built the program has asked for it."""
    assert run("sh", "-euc", command(
        "README.md", "tests/install-packages"), cwd=ROOT).stdout == ""


def test_make_and_install(program, tmp_path):
    text = command("README.md", "make && make install", {
        "make": f"make -s BUILD={shlex.quote(str(program.parent))} "
                f"DESTDIR={tmp_path}"})
    run("sh", "-euc", text, cwd=ROOT, timeout=300)
    installed = tmp_path / "usr/local"
    assert run(installed / "sbin/acme-alpn-proxy", "--version").stdout
    for name in ("share/man/man8/acme-alpn-proxy.8",
                 "lib/systemd/system/acme-alpn-proxy.service",
                 "share/acme-alpn-proxy/hooks/uacme",
                 "share/doc/acme-alpn-proxy/hosts.md",
                 "share/doc/acme-alpn-proxy/examples/logrotate"):
        assert (installed / name).is_file(), name


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local", "/opt/acme"])
def test_what_is_installed_names_what_is_installed(program, tmp_path, prefix):
    make = ["make", "-s", f"BUILD={program.parent}", f"DESTDIR={tmp_path}",
            f"PREFIX={prefix}"]
    run(*make, "install", cwd=ROOT, timeout=300)
    documents = tmp_path / f"{prefix}/share/doc/acme-alpn-proxy".lstrip("/")
    for name, least in (("hooks.md", 7), ("hosts.md", 3),
                        ("examples/acme-renew.service", 1)):
        named = re.findall(r"(?<![\w./])/[\w/]+/acme-alpn-proxy[\w./-]*",
                           (documents / name).read_text())
        # What it makes while it runs is not installed.
        named = [path for path in named if not path.startswith(
            ("/etc/", "/run/", "/var/"))]
        assert len(named) >= least
        for path in named:
            assert path.startswith(f"{prefix}/s"), path
            # One stands for several: acme-renew.*
            assert list(tmp_path.glob(path.lstrip("/") + "*")), path
    run(*make, "uninstall", cwd=ROOT)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Shell:
    """Of the server's administrator, with the program in PATH."""

    def __init__(self, product):
        self._product = product
        self._environment = dict(
            product.environment,
            PATH=f"{product.program.parent}:{os.environ['PATH']}")

    def run(self, text, **options):
        return self._product.namespace.run("sh", "-c", text,
                                           env=self._environment, **options)


@pytest.fixture
def shell(product):
    return Shell(product)


def test_a_look_at_it(product, shell, web):
    shell.run(command("dist/README.md", "acme-alpn-proxy start",
                      {"--daemon": f"--daemon --log-file {product.log}"},
                      " --bpf"))
    assert "redirect: handoff" in shell.run(
        command("dist/README.md", "acme-alpn-proxy status")).stdout
    shell.run(command("dist/README.md", "acme-alpn-proxy stop"))
    assert not product.pids()


RULES = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        meta l4proto ipv6-icmp accept
        tcp dport 443 accept
    }
}
"""


def test_rule_for_a_firewall_of_ones_own(network, product, shell, web):
    """The policy would drop what is redirected, and no start does that; with
    the rule it comes through, and a stranger still cannot reach the port
    itself."""
    network.server.run("nft", RULES)
    refused = product.run("start", "--daemon", "--iptables")
    assert refused.returncode == 1
    assert "(tcp dport 443 accept) but not port 21443" in product.log_text()
    assert "use --bpf" in product.log_text()
    product.start()
    assert "handoff" in product.log_text()
    network.client.connect(Network.SERVER[4], 443).close()
    product.stop()
    shell.run(command("dist/README.md", "nft add rule"))
    product.start("--iptables")
    for address in Network.SERVER.values():
        LongVisitor.through_the_proxy(network.client, address, web).close()
        with pytest.raises(TimeoutError):
            network.client.connect(address, 21443, timeout=1.5)
    product.stop()


def test_file_for_node_exporter(product, shell, web, tmp_path):
    folder = tmp_path / "node-exporter"
    folder.mkdir()
    line = command("dist/README.md", "cd /var/lib/prometheus",
                   {"/var/lib/prometheus/node-exporter": folder})
    for running in (0, 1):
        if running:
            product.start("--redirect=steer")
        shell.run(line)
        (path,) = folder.iterdir()
        assert path.name == "acme-alpn-proxy.prom"
        (up,) = [family for family in
                 text_string_to_metric_families(path.read_text())
                 if family.name == "acme_alpn_proxy_up"]
        assert up.samples[0].value == running
    product.stop()


def test_logrotate_example(product, web, tmp_path):
    text = (ROOT / "dist/logrotate").read_text()
    for old, new in (("/var/log/acme-alpn-proxy.log", product.log),
                     ("/run/acme-alpn-proxy.pid", product.pidfile)):
        assert old in text
        text = text.replace(old, str(new))
    configuration = tmp_path / "logrotate"
    configuration.write_text(text)
    configuration.chmod(0o644)
    tmp_path.chmod(0o755)
    rotate = ["logrotate", "--force", "--state", tmp_path / "state",
              configuration]
    # Nothing runs, nothing to rotate; then nothing runs but there is a log.
    run(*rotate)
    product.log.write_text("a line\n")
    run(*rotate)
    product.log.unlink(missing_ok=True)
    product.start("--redirect=steer")
    before = product.log.read_text()
    run(*rotate)
    wait_until(product.log.exists, what="a new file")
    wait_until(lambda: "log file opened again" in product.log_text(),
               what="a line in it")
    assert product.log.with_name("proxy.log.1").read_text() == before
    product.stop()
    assert "done: " not in before
    wait_until(lambda: "done: " in product.log_text(), what="the last line")


def test_pictures_are_well_formed():
    """On light pages and on dark ones, and made of nothing from elsewhere."""
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)",
                          (ROOT / "README.md").read_text())
    assert pictures == ["dist/images/flow.svg", "tests/bench/result.svg"]
    for name in pictures:
        xml.etree.ElementTree.parse(ROOT / name)
        text = (ROOT / name).read_text()
        assert "@media (prefers-color-scheme: dark)" in text
        assert not re.search(r"href|url\((?!#)|<script|@import", text)
