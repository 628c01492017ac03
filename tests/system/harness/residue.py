# SPDX-License-Identifier: MIT
"""What of a program is left in a namespace: its traces, to be compared."""

import ctypes
import json
import os
import re
import socket
import struct

from .namespace import run, wait_until

FIREWALLS = ("iptables-nft", "ip6tables-nft", "iptables-legacy",
             "ip6tables-legacy")
BPF = {"x86_64": 321, "aarch64": 280}
BPF_PROG_QUERY, TCX_INGRESS = 16, 46


def _rules(namespace):
    """All rules, without the counters, and nftables' own tables."""
    found = {}
    for command in FIREWALLS:
        text = namespace.run(f"{command}-save", check=False,
                             stderr=None).stdout
        # Listing a table makes it, so an empty one is like none.
        found[command] = [line for line in text.splitlines()
                          if re.match(r"-A|:\S+ (?!ACCEPT )", line)]
        found[command] = [re.sub(r"\[\d+:\d+\]", "", line)
                          for line in found[command]]
    listing = namespace.run("nft", "-j", "list", "ruleset").stdout
    rules = [entry for entry in json.loads(listing)["nftables"]
             if entry.keys() & {"rule", "set", "map", "flowtable"}]
    for entry in rules:
        for value in entry.values():
            value.pop("handle", None)
    found["nftables"] = [re.sub(r'"(packets|bytes)": \d+', r'"\1": 0',
                                json.dumps(rule)) for rule in rules]
    return found


def _filters(namespace):
    """Queueing disciplines and filters of all devices."""
    found = {"qdisc": namespace.run("tc", "qdisc", "show").stdout}
    for device in json.loads(namespace.run("ip", "-j", "link").stdout):
        for direction in ("ingress", "egress"):
            name = device["ifname"]
            found[f"{name} {direction}"] = namespace.run(
                "tc", "filter", "show", "dev", name, direction,
                check=False).stdout
    return found


def _xdp_and_tc(namespace):
    return namespace.run("bpftool", "-j", "net", "show").stdout


def tcx_programs(namespace):
    """How many are attached to each device by tcx, which bpftool does not
    tell before release 7.3."""
    found = {}
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.entered():
        for index, name in socket.if_nameindex():
            attributes = ctypes.create_string_buffer(struct.pack(
                "=IIIIQI20x", index, TCX_INGRESS, 0, 0, 0, 0))
            if libc.syscall(BPF[os.uname().machine], BPF_PROG_QUERY,
                            attributes, len(attributes.raw) - 1):
                raise OSError(ctypes.get_errno(), "BPF_PROG_QUERY")
            found[name] = struct.unpack("=IIIIQI", attributes.raw[:28])[5]
    return {name: count for name, count in found.items() if count}


def snapshot(namespace):
    """Everything that a redirect could leave in @namespace's network."""
    return {
        "rules": _rules(namespace),
        "filters": _filters(namespace),
        "programs": _xdp_and_tc(namespace),
        "tcx": tcx_programs(namespace),
        "listeners": sorted(re.findall(
            r"(\S+:\d+)\s+\S+\s*$",
            namespace.run("ss", "-Htln").stdout, re.MULTILINE)),
        "sysctls": namespace.run(
            "sysctl", "-a", "-r",
            r"^net\.(ipv4|ipv6)\.(conf|tcp_|ip_)", stderr=None).stdout,
    }


def bpf_object_exists(kind, number):
    """Does the kernel still have the program, map or link of this id?"""
    return run("bpftool", kind, "show", "id", number,
               check=False).returncode == 0


def wait_bpf_objects_gone(objects):
    """The kernel frees some of them a moment (RCU) after the last user."""
    for kind, number in objects:
        wait_until(lambda: not bpf_object_exists(kind, number),
                   what=f"end of BPF {kind} {number}")
