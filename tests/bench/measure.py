# SPDX-License-Identifier: MIT
"""One measurement of one proxy: start it, load it, read what it cost."""

import dataclasses
import glob
import json
import os
import subprocess
import time

import peers


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long and how often."""

    rounds: int
    visit_ms: int
    transfer_bytes: int
    starts: int
    held: int


FULL = Effort(rounds=5, visit_ms=1500, transfer_bytes=1_500_000_000, starts=5, held=9000)
QUICK = Effort(rounds=3, visit_ms=300, transfer_bytes=300_000_000, starts=2, held=9000)


class Failure(Exception):
    """The proxy did not do what it was asked; its figures would mean nothing."""


def cpu_ns(leader):
    """CPU time of all its threads, to the ns (/proc/PID/schedstat)."""
    total = 0
    for pid in peers.process_tree(leader):
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total


def memory_kib(leader):
    """Proportional set size: shared pages count once."""
    total = 0
    for pid in peers.process_tree(leader):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def busy_percent(seconds=1.0):
    """How busy the machine is without us, over all its cores."""

    def ticks():
        with open("/proc/stat", encoding="ascii") as file:
            numbers = [int(number) for number in file.readline().split()[1:]]
        return sum(numbers), numbers[3] + numbers[4]

    before, idle_before = ticks()
    time.sleep(seconds)
    after, idle_after = ticks()
    return 100 - 100 * (idle_after - idle_before) / max(1, after - before)


def descriptors(leader):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in peers.process_tree(leader))


class Bench:
    """The programs that load and answer, and what is done with them."""

    def __init__(self, tools, load_cpu, effort):
        self.tools = tools
        self.load_cpu = load_cpu
        self.effort = effort
        # {name: {what failed: why}}, said with the results.
        self.failures = {}

    def pinned(self, program, *arguments):
        return [
            "taskset",
            "--cpu-list",
            str(self.load_cpu),
            os.path.join(self.tools, program),
            *map(str, arguments),
        ]

    def load(self, *arguments, program="load", environment=None):
        result = subprocess.run(
            self.pinned(program, *arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if result.returncode:
            raise Failure(result.stderr.strip())
        answer = json.loads(result.stdout)
        if answer.get("failed"):
            raise Failure(f"{answer['failed']} connections failed in {arguments}")
        return answer

    def complain(self, peer, what, failure):
        self.failures.setdefault(peer.name, {})[what] = str(failure)

    def wait_until_ready(self, peer):
        for _ in range(100):
            try:
                if self.load(peer.port, "route", "http/1.1", "web.example")["backend"] == "F":
                    return
            except (Failure, json.JSONDecodeError):
                pass
            time.sleep(0.05)
        raise Failure("it does not answer")

    def wait_until_tls_ready(self, peer):
        for _ in range(100):
            try:
                self.load(peer.port, 100, program="tls_load")
                return
            except Failure:
                time.sleep(0.05)
        raise Failure("it does not answer")

    def check_routes(self, peer):
        """Does it judge as it must? Else its figures would mean nothing."""
        peer.start()
        try:
            self.wait_until_ready(peer)
            for (alpn, name), expected in peer.routes.items():
                reached = self.load(peer.port, "route", alpn, name)["backend"]
                if reached != expected:
                    raise Failure(f"{alpn} for {name} went to {reached!r}")
        finally:
            peer.stop()

    def with_cpu(self, peer, *arguments, program="load"):
        """Run the load; returns its result and the proxy's CPU time in us."""
        leader = peer.process.pid if peer.process else None
        before = cpu_ns(leader) if leader else 0
        result = self.load(peer.port, *arguments, program=program)
        # Let it close what it has.
        time.sleep(0.02)
        spent = (cpu_ns(leader) if leader else 0) - before
        return result, spent / 1000 if leader else None

    def visits(self, peer, concurrency, milliseconds=None):
        result, cpu_us = self.with_cpu(
            peer, "visits", concurrency, milliseconds or self.effort.visit_ms
        )
        return {
            "cpu_us": cpu_us and cpu_us / result["completed"],
            "rate": result["completed"] / result["seconds"],
            "p99_us": result["p99_us"],
        }

    def warm_up(self, peer):
        self.wait_until_ready(peer)
        self.visits(peer, 64, 100)

    def short_connections(self, peer):
        values = {}
        peer.start()
        try:
            self.warm_up(peer)
            for concurrency in (1, 64, 1000):
                try:
                    one = self.visits(peer, concurrency)
                except Failure as failure:
                    self.complain(peer, f"{concurrency} at a time", failure)
                    continue
                values[f"cpu_{concurrency}"] = one["cpu_us"]
                values[f"rate_{concurrency}"] = one["rate"]
                values[f"p99_{concurrency}"] = one["p99_us"]
        finally:
            peer.stop()
        return values

    def bulk(self, peer):
        values = {}
        peer.start()
        try:
            self.warm_up(peer)
            for direction in ("down", "up"):
                for streams in (1, 8):
                    result, cpu_us = self.with_cpu(
                        peer, direction, streams, self.effort.transfer_bytes
                    )
                    gigabytes = result["bytes"] / 1e9
                    key = f"{direction}_{streams}"
                    values["cpu_" + key] = cpu_us and cpu_us / 1e6 / gigabytes
                    values["rate_" + key] = gigabytes / result["seconds"]
        finally:
            peer.stop()
        return values

    def hold(self, peer, count, holders):
        """Open @count connections that stay; what they take of the proxy."""
        leader = peer.process.pid if peer.process else None
        before = (memory_kib(leader), descriptors(leader)) if leader else (0, 0)
        holder = subprocess.Popen(
            self.pinned("load", peer.port, "hold", count),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        holders.append(holder)
        answer = json.loads(holder.stdout.readline())
        if answer["failed"] or answer["held"] != count:
            raise Failure(f"holds only {answer['held']} of {count} more connections")
        # Whatever it does with those that fall silent, let it be done.
        time.sleep(0.5)
        if not leader:
            return {}
        return {
            "idle_kib": (memory_kib(leader) - before[0]) / count,
            "idle_fds": (descriptors(leader) - before[1]) / count,
        }

    def idle(self, peer):
        """Hold many quiet connections: what they take, and what they slow."""
        first = self.effort.held // 3
        holders = []
        values = {}
        peer.start()
        try:
            self.warm_up(peer)
            values.update(self.hold(peer, first, holders))
            self.hold(peer, self.effort.held - first, holders)
            # As everywhere: what happens once, here that so many fall silent,
            # is not what a connection costs.
            self.visits(peer, 64, 300)
            one = self.visits(peer, 64)
            values.update(cpu_idle=one["cpu_us"], p99_idle=one["p99_us"])
        except Failure as failure:
            self.complain(peer, f"{self.effort.held} idle connections", failure)
        finally:
            for holder in holders:
                holder.communicate()
            peer.stop()
        return values

    def start_time(self, peer):
        if isinstance(peer, peers.Direct):
            return {}
        times = []
        for _ in range(self.effort.starts):
            peer.forget()
            result = self.load(
                peer.port,
                "start",
                peer.proxy_cpu,
                *peer.command(peers.FALLBACK_PORT),
                environment=peer.environment(),
            )
            times.append(result["ms"])
            time.sleep(0.05)
        return {"start_ms": sorted(times)[len(times) // 2]}

    def tls(self, peer):
        peer.start(peers.TLS_PORT)
        try:
            self.wait_until_tls_ready(peer)
            result, cpu_us = self.with_cpu(peer, self.effort.visit_ms, program="tls_load")
        finally:
            peer.stop()
        return {
            "cpu_tls": cpu_us and cpu_us / result["completed"],
            "rate_tls": result["completed"] / result["seconds"],
        }
