# SPDX-License-Identifier: MIT
"""What a visitor from outside notices: over a veth pair, from a network namespace
beside the web server's.

Handing off and steering stand in front of the web server's own port, the others
on one of their own. CPU is that of the whole machine: what a program in the
kernel takes is nobody's.
"""

import json
import os
import subprocess

import peers
from measure import Failure

HOST = "10.0.0.1"
VISITOR = "10.0.0.2"
# See target_visitor() of exchange.c.
VISITORS = "10.1.0.0/16"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
CHALLENGES = 100


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Town:
    """The namespace that visitors come from; lives as long as its process."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.enter = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def open(self):
        while os.path.samefile("/proc/self/ns/net", f"/proc/{self.process.pid}/ns/net"):
            pass
        pid = str(self.process.pid)
        run("ip", "link", "add", "town0", "type", "veth", "peer", "name", "road0", "netns", pid)
        run("ip", "addr", "add", f"{HOST}/24", "dev", "town0")
        run("ip", "link", "set", "town0", "up")
        run("ip", "route", "add", VISITORS, "via", VISITOR)
        run(*self.enter, "ip", "addr", "add", f"{VISITOR}/24", "dev", "road0")
        run(*self.enter, "ip", "link", "set", "lo", "up")
        run(*self.enter, "ip", "link", "set", "road0", "up")
        run(*self.enter, "ip", "route", "add", "local", VISITORS, "dev", "lo")

    def close(self):
        run("ip", "link", "del", "town0")
        self.process.kill()
        self.process.wait()


class Redirected(peers.Ours):
    """In front of a web server's own port; visitors are the kernel's to lead."""

    def __init__(self, redirect, folder, cpu):
        super().__init__(folder, cpu)
        self.name = self.redirect = redirect

    def start(self, fallback=peers.FALLBACK_PORT):
        self.port = fallback
        log = ["--log-file", os.path.join(self.folder, "visitors.log")]
        backends = ["-alpn", f"127.0.0.1:{peers.ALPN_PORT}", "-fallback", f"127.0.0.1:{fallback}"]
        self.run("start", "--daemon", "--redirect", self.redirect, "--port", str(fallback),
                 *backends, *log)

    def stop(self):
        self.run("stop", "--wait")

    def run(self, *arguments):
        result = subprocess.run(
            self.pinned([os.path.abspath(self.program), *arguments]), env=self.environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
        if result.returncode:
            raise Failure(result.stderr.strip())


def busy_ticks():
    with open("/proc/stat", encoding="ascii") as file:
        numbers = [int(number) for number in file.readline().split()[1:]]
    return sum(numbers[:8]) - numbers[3] - numbers[4]


def load(bench, town, program, port, *arguments):
    result = subprocess.run(
        [*town.enter, *bench.pinned(program, f"{HOST}:{port}", *arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )
    if result.returncode:
        raise Failure(result.stderr.strip())
    answer = json.loads(result.stdout)
    if answer["failed"]:
        raise Failure(f"{answer['failed']} connections failed in {arguments}")
    return answer


def measure_one(bench, town, peer, with_tls):
    """One sample of everything of one contestant."""
    peer.start()
    try:
        bench.wait_until_ready(peer)
        load(bench, town, "load", peer.port, "visits", 64, 100)
        before = busy_ticks()
        visits = load(bench, town, "load", peer.port, "visits", 64, bench.effort.visit_ms)
        spent = (busy_ticks() - before) * TICK_US
        sample = {
            "rate": visits["completed"] / visits["seconds"],
            "cpu": spent / visits["completed"],
        }
        if isinstance(peer, Redirected):
            taken = load(bench, town, "load", peer.port, "challenges", CHALLENGES)
            sample.update(challenge_p50=taken["p50_us"], challenge_p99=taken["p99_us"])
    finally:
        peer.stop()
    if with_tls:
        peer.start(peers.TLS_PORT)
        try:
            bench.wait_until_tls_ready(peer)
            tls = load(bench, town, "tls_load", peer.port, bench.effort.visit_ms)
            sample.update(tls_p50=tls["p50_us"], tls_p99=tls["p99_us"])
        finally:
            peer.stop()
    return sample


def measure(bench, folder, proxy_cpu, with_tls):
    """{contestant: {column: [sample, ...]}}, in alternating rounds."""
    contestants = [
        peers.Direct(folder, proxy_cpu),
        Redirected("handoff", folder, proxy_cpu),
        Redirected("steer", folder, proxy_cpu),
        peers.Haproxy(folder, proxy_cpu),
        peers.Nginx(folder, proxy_cpu),
    ]
    contestants = [peer for peer in contestants if not peer.available()]
    samples = {peer.name: {} for peer in contestants}
    town = Town()
    try:
        town.open()
        for number in range(bench.effort.rounds):
            first = number % len(contestants)
            for peer in contestants[first:] + contestants[:first]:
                for key, value in measure_one(bench, town, peer, with_tls).items():
                    samples[peer.name].setdefault(key, []).append(value)
    finally:
        town.close()
    return samples
