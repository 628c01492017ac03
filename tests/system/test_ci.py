# SPDX-License-Identifier: MIT
""".ci/run ends with what failed, in few lines, whatever make says before."""

import os
import re
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci/run"
# What a log is kept of.
END = 4096


@pytest.fixture
def ci(tmp_path):
    """Call it with what `make TARGET` prints, by target; a target fails if its
    output does not say that nothing did."""
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\n'
                    f'cat "{tmp_path}/$1.output"\n'
                    f'grep -q " 0 failed" "{tmp_path}/$1.output"\n')
    make.chmod(0o755)

    def run(**outputs):
        for target, output in outputs.items():
            (tmp_path / f"{target}.output").write_text(output)
        result = subprocess.run(
            [CI, *outputs], stdout=subprocess.PIPE, text=True, check=False,
            env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"))
        return result.returncode, result.stdout
    return run


def told_last(output):
    """The lines behind those of the last target."""
    return re.split(r"\d+ skipped in \d+ s\n", output)[-1].splitlines()


def test_all_passes(ci):
    code, output = ci(check="12 passed, 0 failed, 1 skipped\n",
                      kernels="4 passed, 0 failed\n")
    assert code == 0
    assert told_last(output) == ["16 passed, 0 failed, 1 skipped"]


def test_failures_are_told_again(ci):
    code, output = ci(
        check="ok 1 - test_a\nnot ok 2 - test_b\n# x.c:1: error\n"
              "unit    test_c: FAILED\n" + "more\n" * 900 +
              "FAILED tests/test_d.py::test_e - AssertionError\n"
              "ERROR tests/test_f.py - ImportError\n5 passed, 4 failed\n",
        valgrind="[  FAILED  ] test_g\n[  FAILED  ] test_g\n",
        kernels="amd64/sid 6.1: ok - is\namd64/sid 6.1: not ok - is: no\n"
                "amd64/sid 6.1: not ok - is: no\n1 passed, 1 failed\n",
        lint="checking\n" * 9 + "x.c:3: warning: shadow\nmake: Error 1\n",
        good="FAILED to do so, as expected\n1 passed, 0 failed\n")
    assert code == 1
    assert told_last(output) == [
        "check: not ok 2 - test_b",
        "check: unit    test_c: FAILED",
        "check: FAILED tests/test_d.py::test_e - AssertionError",
        "check: ERROR tests/test_f.py - ImportError",
        "valgrind: [  FAILED  ] test_g",
        "kernels: amd64/sid 6.1: not ok - is: no",
        "lint: checking",
        "lint: x.c:3: warning: shadow",
        "lint: make: Error 1",
        "7 passed, 7 failed"]


@pytest.mark.parametrize("length", [10, 1000])
def test_many_failures_fit_into_the_end(ci, length):
    names = [f"FAILED test_{i} {'x' * length}\n" for i in range(100)]
    _, output = ci(check="".join(names) + "0 passed, 100 failed\n")
    *told, more, counts = told_last(output)
    assert len("\n".join(told)) < END - 200
    assert told[0].startswith("check: FAILED test_0 x")
    assert 10 < len(told) <= 20
    assert (more, counts) == (f"and {100 - len(told)} more",
                              "0 passed, 100 failed")
