# SPDX-License-Identifier: MIT
"""How long it takes until the redirect is in place.

Ours is verified when `start --daemon` returns, worker and all. Beside it stands
what the program of the same name in Go has iptables do at its start, which it
does not verify: delete a rule that is not there, then add one for each family.
"""

import os
import subprocess
import time

import peers
from measure import Failure

RULE = (
    "-p tcp --dport 443 -j REDIRECT --to-port 21443 -m comment --comment acme-alpn-proxy"
).split()
ORIGINAL = "the original's three calls of iptables"
ROUNDS = 9


def run(*command, check=True, environment=None):
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )
    if check and result.returncode:
        raise Failure(f"{' '.join(command[:4])}: {result.stderr.strip()}")


def milliseconds(action):
    started = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - started)


def change(program, action, check=True):
    run(program, "-t", "nat", action, "PREROUTING", *RULE, check=check)


def call_as_the_original():
    change("iptables", "-D", check=False)
    change("iptables", "-A")
    change("ip6tables", "-A")


def measure_original():
    taken = milliseconds(call_as_the_original)
    change("iptables", "-D")
    change("ip6tables", "-D")
    return taken


def measure_ours(folder, redirect):
    ours = peers.Ours(folder, None)
    command = [os.path.abspath(ours.program), "--log-file", f"{folder}/redirect.log"]
    environment = ours.environment()
    taken = milliseconds(
        lambda: run(
            *command, "start", "--daemon", "--redirect", redirect, environment=environment
        )
    )
    run(*command, "stop", "--wait", environment=environment)
    return taken


def measure(folder):
    """{what: [ms, ...]}, in alternating rounds; Failure if it cannot be."""
    run("ip", "link", "add", "visitors0", "type", "veth", "peer", "name", "visitors1")
    run("ip", "link", "set", "visitors0", "up")
    run("ip", "link", "set", "visitors1", "up")
    contestants = {
        "ours, iptables": lambda: measure_ours(folder, "iptables"),
        "ours, steer, two interfaces": lambda: measure_ours(folder, "steer"),
        "ours, handoff, two interfaces": lambda: measure_ours(folder, "handoff"),
        ORIGINAL: measure_original,
    }
    samples = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, contestant in contestants.items():
            samples[name].append(contestant())
    return samples
