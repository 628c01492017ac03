# SPDX-License-Identifier: MIT
"""A Debian in a folder: a chroot, and machines that boot systemd on it."""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

from harness.namespace import run, wait_until

KEPT = Path(__file__).resolve().parents[2] / "build/packages"
# What dpkg, apt and ldconfig write of any package.
RECORDS = ("var/lib/dpkg/", "var/log/", "var/cache/", "var/lib/apt/",
           "root/", "tmp/", "run/", "proc/", "sys/", "dev/")
# Python is for Ansible.
EXTRA = ("ca-certificates", "dbus", "iproute2", "iptables", "libbpf1",
         "nginx-light", "openssl", "procps", "python3-apt", "rpm", "systemd",
         "systemd-sysv")

# Makes the namespaces of a machine, and ends as its first process. What it
# writes is kept in memory.
BOOT = """\
root=$1
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
mkdir "/mnt/$2"
echo $$ >"/mnt/$2/cgroup.procs"
umount /mnt
exec unshare --cgroup --ipc --net --pid --uts --fork --kill-child \\
    --mount bash -euc '
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" \
    overlay /mnt/root
root=/mnt/root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in full null random urandom zero; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
ip link set lo up
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
export container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec /lib/systemd/systemd --log-target=console --show-status=no \\
    systemd.unit=multi-user.target
' machine "$root"
"""
REMOVE_CGROUP = """\
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
[ ! -d "/mnt/$1" ] || find "/mnt/$1" -depth -type d -exec rmdir {} +
"""


class Debian:
    def __init__(self, root):
        self.root = root
        # Its users must get at what is theirs.
        for folder in (root, *list(root.parents)[:-2]):
            folder.chmod(folder.stat().st_mode | 0o111)
        self._unpack()

    def _unpack(self):
        """From a copy of the last time, because making one takes minutes."""
        names = ",".join(EXTRA)
        digest = hashlib.sha256(names.encode()).hexdigest()[:16]
        copy = KEPT / f"debian-{digest}.tar"
        if not copy.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            run("debootstrap", "--variant=minbase", f"--include={names}",
                "bookworm", self.root, timeout=900)
            run("tar", "--one-file-system", "-cf", f"{copy}.new", "-C",
                self.root, ".")
            Path(f"{copy}.new").rename(copy)
        else:
            run("tar", "-xpf", copy, "-C", self.root)

    def run(self, *words, **options):
        return run("chroot", self.root, *words,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
                   **options)

    def offer(self, package):
        shutil.copy(package, self.root / f"root/package{package.suffix}")

    def files(self):
        """Every file and what it is, but for the records of packages."""
        found = {}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if f"{name}/".startswith(RECORDS):
                continue
            status = path.lstat()
            content = None
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[name] = (status.st_mode, status.st_uid, content)
        return found


class Machine:
    """@debian, booted by systemd in namespaces of its own; it stays as it is."""

    def __init__(self, debian):
        self._name = f"acme-packages-{os.getpid()}"
        self._log = open(debian.root / "root/boot.log", "wb")
        self._boot = subprocess.Popen(
            ["unshare", "--mount", "bash", "-euc", BOOT, "boot",
             str(debian.root), self._name], stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=self._log)
        try:
            self.pid = wait_until(self._first_process, 30, "a machine")
            wait_until(lambda: self.run("systemctl", "is-system-running",
                                        check=False).stdout.strip()
                       in ("running", "degraded"), 60, "the end of its boot")
        except BaseException:
            self.stop()
            raise

    def _first_process(self):
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children")
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                if "systemd" in os.readlink(f"/proc/{pid}/exe"):
                    return int(pid)
        return None

    def run(self, *words, **options):
        return run("nsenter", f"--target={self.pid}", "--mount", "--pid",
                   "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd",
                   *words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                   **options)

    def journal(self, *units):
        return self.run("journalctl", "--no-pager",
                        *(f"--unit={unit}" for unit in units)).stdout

    def shell(self, script, **options):
        return self.run("sh", "-euc", script, **options).stdout

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self._boot.send_signal(signal.SIGKILL)
        self._boot.wait(10)
        self._log.close()
        wait_until(lambda: run("unshare", "--mount", "sh", "-euc",
                               REMOVE_CGROUP, "remove", self._name,
                               check=False).returncode == 0,
                   what="the end of its cgroup")
