# SPDX-License-Identifier: MIT
"""
The Containerfile's image: a static binary in an empty root.

A container is a root, namespaces and capabilities; all of them are made here
as a container engine would, with the very capabilities of the DaemonSet.
"""

import os
import re
import shlex
import signal
import subprocess

import pytest
import yaml

from conftest import ROOT
from harness.hello import client_hello
from harness.namespace import run, wait_until
from harness.network import Network
from harness.recorder import Recorder

POD = """\
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/run/acme-alpn-proxy /mnt/proc /mnt/sys/kernel/btf /mnt/etc
cp -r {image}/. /mnt
mount -t proc proc /mnt/proc
mount --bind /sys/kernel/btf /mnt/sys/kernel/btf
mount -o remount,ro,bind /mnt 2>/dev/null || mount -o remount,ro /mnt
mount -t tmpfs tmpfs /mnt/run/acme-alpn-proxy
exec chroot /mnt {program}
"""
