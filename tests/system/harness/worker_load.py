# SPDX-License-Identifier: MIT
"""What a worker uses: processor, memory, descriptors."""

import os
import re
import resource
import time
from contextlib import contextmanager
from pathlib import Path


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_at_rest(pid, seconds=1):
    """It waits, and does nothing else."""
    before = processor_seconds(pid)
    time.sleep(seconds)
    assert processor_seconds(pid) - before < 0.1


def resident_kib(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", text).group(1))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextmanager
def many_descriptors(count=20000):
    """For us and for what we start; fewer where not even root may have them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (count, max(count, before[1])))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
