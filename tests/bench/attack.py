# SPDX-License-Identifier: MIT
"""What visitors notice of an attacker who sends challenges all the time.

Without us the web server answers those hellos itself; handed off, they cost a
move each, as far as the limits go. The load is on one core with the web server
and the responder, as ever; the proxy on the other, or beside them.
"""

import dataclasses
import json
import subprocess
import time

import measure
import peers
import visitors

RATE = 500
# Of the attacker's connections, on a machine that is busy for a moment.
LEAST_ANSWERED = 0.95


@dataclasses.dataclass(frozen=True)
class Attack:
    title: str
    # He has VISITOR_NETWORKS, each within its limit, or one alone.
    networks: int
    one_core: bool = False


ATTACKS = (
    Attack("from 250 networks", 250),
    Attack("from 250 networks, one core for all", 250, one_core=True),
    Attack("from one network", 1),
)


class Attacker:
    def __init__(self, bench, town, port, networks, milliseconds):
        self.sent = RATE * milliseconds // 1000
        self.process = subprocess.Popen(
            [*town.enter, *bench.pinned("load", f"{visitors.HOST}:{port}", "attack")]
            + [str(RATE), str(milliseconds), str(networks)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )

    def finish(self):
        answer = json.loads(self.process.communicate(timeout=60)[0])
        if answer["completed"] < LEAST_ANSWERED * self.sent:
            raise measure.Failure(f"only {answer['completed']} of an attacker's {self.sent} "
                                  "challenges were answered")


def cpu_ns(peer):
    """Of the proxy, if there is one."""
    if not isinstance(peer, visitors.Redirected):
        return 0
    with open(peer.pidfile(), encoding="ascii") as file:
        return measure.cpu_ns(int(file.read()))


def measure_one(bench, town, peer, networks):
    """The attack has its first burst, which limits allow, behind it then."""
    milliseconds = bench.effort.visit_ms
    peer.start(peers.TLS_PORT)
    try:
        bench.wait_until_tls_ready(peer)
        attacker = Attacker(bench, town, peer.port, networks, 2 * milliseconds + 200)
        time.sleep(milliseconds / 1000)
        before = cpu_ns(peer)
        tls = visitors.load(bench, town, "tls_load", peer.port, milliseconds)
        spent = cpu_ns(peer) - before
        attacker.finish()
    finally:
        peer.stop()
    return {
        "rate": tls["completed"] / tls["seconds"],
        "tls_p50": tls["p50_us"],
        "tls_p99": tls["p99_us"],
        "cpu": spent / tls["seconds"] / 1e7,
    }


def measure_all(bench, folder, proxy_cpu):
    """{attack: {contestant: {column: [sample, ...]}}}, in alternating rounds."""
    samples = {attack.title: {} for attack in ATTACKS}
    town = visitors.Town()
    try:
        town.open()
        for number in range(bench.effort.rounds):
            for attack in ATTACKS:
                cpu = bench.load_cpu if attack.one_core else proxy_cpu
                pair = [peers.Direct(folder, cpu), visitors.Redirected("handoff", folder, cpu)]
                for peer in pair[:: -1 if number % 2 else 1]:
                    columns = samples[attack.title].setdefault(peer.name, {})
                    for key, value in measure_one(bench, town, peer, attack.networks).items():
                        columns.setdefault(key, []).append(value)
    finally:
        town.close()
    return samples
