# SPDX-License-Identifier: MIT
"""
Who may include whom: each room of src/ and include/ knows only what lies
below it, and nothing goes round in a circle.
"""

import functools
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Besides itself; what is not named here is a room that nobody has thought of.
ROOMS = {
    "base": "",
    "hello": "",
    "listen": "base",
    "proxy": "base hello listen",
    "redirect": "base hello listen bpf",
    "status": "base redirect proxy",
    "instance": "base redirect status listen",
    "supervisor": "base proxy redirect status instance listen",
    "command": "base hello listen proxy redirect status instance supervisor",
    # src/main.c
    "main": "base command",
    # What runs in the kernel; its headers say what both sides share.
    "bpf": "vmlinux hello",
    "vmlinux": "",
}

# The way of a connection: each step knows only those behind it.
WAY = ("loop", "acceptor", "peek", "connect", "relay", "connection",
       ("flow", "readiness", "deadline"))


def files():
    for folder in ("src", "include", "bpf", "vmlinux"):
        yield from sorted((ROOT / folder).rglob("*.[ch]"))


def name_of(path):
    """As an include names it: by its room."""
    path = path.relative_to(ROOT)
    return str(path.relative_to(path.parts[0])
               if path.parts[0] in ("src", "include") else path)


def room_of(name):
    return Path(name).parts[0].removesuffix(".c")


def module_of(name):
    """A source and its header are one."""
    return re.sub(r"(\.bpf)?\.[ch]$", "", name)


@functools.cache
def includes():
    """Pairs of a file and what it includes, of those that are ours."""
    names = {name_of(path) for path in files()}
    found = []
    for path in files():
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"',
                               path.read_text(), re.M):
            # Made by the build.
            if name.endswith(".skel.h"):
                continue
            beside = str(Path(name_of(path)).parent / name)
            name = beside if "/" not in name and beside in names else name
            assert name in names, f"{path}: {name} is in no room"
            found.append((path, name))
    assert len(found) > 100
    return found


@functools.cache
def modules():
    """What each module includes of others."""
    known = {module_of(name_of(path)): set() for path in files()}
    for path, name in includes():
        known[module_of(name_of(path))].add(module_of(name))
    return {module: others - {module} for module, others in known.items()}


def test_every_room_is_known():
    assert {room_of(name_of(path)) for path in files()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_what_lies_below(room):
    allowed = {room, *ROOMS[room].split()}
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path, name in includes()
             if room_of(name_of(path)) == room
             and room_of(name) not in allowed]
    assert not wrong


def test_headers_of_one_room_are_included_from_there_alone():
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path, name in includes()
             if (ROOT / "src" / name).exists()
             and room_of(name) != room_of(name_of(path))]
    assert not wrong


def test_what_only_one_room_includes_is_a_header_of_that_room():
    """In include/ is what others are promised."""
    users = {}
    for path, name in includes():
        users.setdefault(name, set()).add(room_of(name_of(path)))
    wrong = [name for name, rooms in users.items()
             if rooms == {room_of(name)} and (ROOT / "include" / name).exists()]
    assert not wrong


def test_no_header_is_of_no_use():
    used = {name for _, name in includes()}
    assert not {name_of(path) for path in files()
                if path.suffix == ".h"} - used


def test_no_circles():
    try:
        graphlib.TopologicalSorter(modules()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" includes ".join(reversed(error.args[1])))


def reached_from(module):
    found, new = set(), {module}
    while new:
        found |= new
        new = set().union(*(modules()[name] for name in new)) - found
    return found - {module}


def test_the_way_of_a_connection_leads_one_way():
    steps = [(step,) if isinstance(step, str) else step for step in WAY]
    rank = {f"proxy/{name}": number for number, step in enumerate(steps)
            for name in step}
    assert not set(rank) - set(modules()), "a step of the way is missing"
    wrong = [f"{module} -> {other}" for module in rank
             for other in reached_from(module) & set(rank)
             if rank[other] <= rank[module]]
    assert not wrong
