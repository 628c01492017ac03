# SPDX-License-Identifier: MIT
"""What the compiler and the linker can do against an exploit is done."""

import re

import pytest

from harness.namespace import run


@pytest.fixture(scope="module")
def elf(program):
    return run("readelf", "-W", "--file-header", "--program-headers",
               "--dynamic", "--dyn-syms", program).stdout


def test_position_independent(elf):
    assert re.search(r"Type:\s+DYN", elf)
    assert re.search(r"FLAGS_1.*\bPIE\b", elf)


def test_tables_are_read_only_once_it_runs(elf):
    assert "GNU_RELRO" in elf
    assert re.search(r"\(FLAGS\)\s+BIND_NOW|FLAGS_1.*\bNOW\b", elf)
    assert "TEXTREL" not in elf


def test_nothing_is_writable_and_code(elf):
    segments = re.findall(r"^\s+(LOAD|GNU_STACK)\s+(?:0x\w+\s+){5}([RWE ]{3})",
                          elf, re.MULTILINE)
    assert ("GNU_STACK", "RW ") in segments
    assert len(segments) > 2
    assert not [flags for _, flags in segments if "W" in flags and
                "E" in flags]


def test_stack_and_copies_are_checked(elf):
    assert re.search(r"UND __stack_chk_fail\b", elf)
    assert re.search(r"UND __(mem|str|v?snprintf|recv|read|v?s?printf)\w*_chk\b",
                     elf)


def test_no_library_path_of_its_own(elf):
    assert "RPATH" not in elf and "RUNPATH" not in elf


def test_jumps_and_returns_are_guarded(program):
    """endbr64 where a call may land; signed return addresses on arm64."""
    code = run("objdump", "-d", "--no-show-raw-insn", program).stdout
    marks = {"x86-64": r"\bendbr64\b", "aarch64": r"\bpaciasp\b"}
    (mark,) = (mark for machine, mark in marks.items() if machine in code[:200])
    functions = len(re.findall(r"^[0-9a-f]+ <\w+>:$", code, re.MULTILINE))
    assert len(re.findall(mark, code)) > functions / 4
