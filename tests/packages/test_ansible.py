# SPDX-License-Identifier: MIT
"""The example for Ansible: well formed, and run against a machine."""

import re

import pytest
import yaml

from conftest import ROOT
from debian import Machine
from harness.documents import command
from harness.namespace import run

FOLDER = ROOT / "dist/ansible"
PLAYBOOK = FOLDER / "playbook.yml"
# Ansible's way in: the last word of ssh is what the other side's shell runs.
WAY_IN = """\
#!/bin/bash
exec nsenter --target={pid} --mount --pid --net --uts --ipc --cgroup --root \\
    --wd env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c "${{@: -1}}"
"""
CLIENT = """
cat >/usr/bin/lego <<'EOF'
#!/bin/sh
id -un
echo "$@"
test -w /var/lib/acme && pgrep -x acme-alpn-proxy >/dev/null
EOF
chmod 0755 /usr/bin/lego
systemctl start nginx
"""


def ansible(program, folder, *words, **options):
    return run(program, *words, cwd=folder, timeout=300, env={
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder),
        "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}, **options).stdout


@pytest.fixture
def machine(debian):
    made = Machine(debian)
    yield made
    made.stop()


@pytest.fixture
def play(machine, package, tmp_path):
    """Call it: the playbook, as documented, against the machine."""
    way_in = tmp_path / "ssh"
    way_in.write_text(WAY_IN.format(pid=machine.pid))
    way_in.chmod(0o755)
    documented = command("dist/README.md", "ansible-playbook", {
        "dist/ansible/playbook.yml": PLAYBOOK}).split()

    def play(*words):
        return ansible(documented[0], tmp_path, *documented[1:], *words,
                       "--ssh-extra-args", "",
                       "--extra-vars", "ansible_become=false "
                       f"ansible_ssh_executable={way_in} "
                       "ansible_ssh_transfer_method=piped "
                       f"acme_alpn_proxy_package={package}")
    return play


def test_is_well_formed(tmp_path):
    ansible("ansible-playbook", tmp_path, "--syntax-check", "--inventory",
            "web,", PLAYBOOK)
    for path in ("roles", "playbook.yml"):
        (tmp_path / path).symlink_to(FOLDER / path)
    ansible("ansible-lint", tmp_path, "--offline", "--nocolor", "--strict",
            "playbook.yml")


def test_every_setting_is_used():
    role = FOLDER / "roles/acme_alpn_proxy"
    settings = yaml.safe_load((role / "defaults/main.yml").read_text())
    text = "".join(path.read_text() for path in role.rglob("*")
                   if path.is_file() and path.parent.name != "defaults")
    assert set(re.findall(r"acme_alpn_proxy_\w+", text)) == set(settings)
    (only,) = yaml.safe_load(PLAYBOOK.read_text())
    (used,) = only["roles"]
    assert {*used} - {"role"} <= set(settings)


def test_host_renews_afterwards(machine, play):
    machine.shell(CLIENT)
    play()
    machine.shell("systemctl list-timers | grep acme-renew; "
                  "systemctl is-enabled acme-renew.timer")
    machine.shell("systemctl start acme-renew")
    journal = machine.journal("acme-renew", "acme-alpn-proxy")
    assert re.search(r"lego\[\d+\]: acme$", journal, re.M)
    assert "--domains www.example.org --accept-tos run" in journal
    assert journal.index("ready: ") < journal.index("]: acme\n")


def test_second_time_changes_nothing(machine, play):
    machine.shell(CLIENT)
    assert re.search(r"changed=[1-9]", play())
    told = play()
    assert re.search(r"\bchanged=0 .*\bfailed=0 ", told), told
