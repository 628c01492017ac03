# SPDX-License-Identifier: MIT
"""Where measurements take place: namespaces of their own, load and backend."""

import dataclasses
import os
import resource
import subprocess
import sys

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
INSIDE = "ACME_ALPN_PROXY_BENCH_INSIDE"


def enter_namespaces():
    """Run again where all ports are free and all children die with us."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for a network namespace of its own")
    os.environ[INSIDE] = "1"
    os.execvp(
        "unshare",
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        + [sys.executable, *sys.argv],
    )


def build_tools(folder):
    """Compile load and backend; True if the TLS load could be built too."""
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
    os.makedirs(folder, exist_ok=True)

    def compile_one(name, sources, *libraries, check=True):
        paths = [os.path.join(HERE, source) for source in sources]
        output = os.path.join(folder, name)
        command = [*compiler, *flags, "-o", output, *paths, *libraries]
        return subprocess.run(command, check=check, capture_output=not check).returncode == 0

    compile_one("backend", ["backend.c", "exchange.c"])
    compile_one("bare", ["bare.c"])
    compile_one("load", ["load.c", "exchange.c"])
    return compile_one("tls_load", ["tls_load.c", "exchange.c"], "-lssl", "-lcrypto", check=False)


def raise_descriptor_limit(effort):
    """Returns the effort with no more connections held than can be."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    # Two for each in the proxy, some of which keep pipes for a while.
    most = (limit - 1500) // 2
    if most < effort.held:
        print(f"only {most} idle connections: the descriptor limit is {limit}")
        return dataclasses.replace(effort, held=most)
    return effort


def start_backend(tools, cpu):
    backend = subprocess.Popen(
        ["taskset", "--cpu-list", str(cpu), os.path.join(tools, "backend")]
        + [str(peers.FALLBACK_PORT), str(peers.ALPN_PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if backend.stdout.readline() != "ready\n":
        sys.exit("bench: the backend does not start")
    return backend
