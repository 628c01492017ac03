# SPDX-License-Identifier: MIT
"""
Real container engines, in the network of a test and in a mount namespace of
their own. All that they keep is in its /run, and goes with it: nothing of
theirs is seen by the machine that runs the tests.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.namespace import Namespace, run, wait_until
from harness.network import Network

IMAGE = "web"
USER = 4242
NETWORK = "dual"
STATE = "/run/engine"
IFA_F_TENTATIVE = 0x40

ENTER = """\
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p {state}
cat >{state}/containers.conf <<END
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "{backend}"
network_config_dir = "{state}/networks"
END
{more}
echo ready
exec sleep infinity
"""

# A mixture of old and new control groups is none that crun takes.
PLAIN_CGROUPS = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"

# A user with a range of ids of its own, who may listen on port 443 and make
# tun devices.
ADD_USER = f"""\
for file in passwd group subuid subgid; do
    [ ! -e /etc/$file ] || cat /etc/$file >/run/$file
done
echo 'engine:x:{USER}:{USER}::{STATE}:/bin/sh' >>/run/passwd
echo 'engine:x:{USER}:' >>/run/group
echo 'engine:2000000:65536' | tee -a /run/subuid >>/run/subgid
for file in passwd group subuid subgid; do
    mount --bind /run/$file /etc/$file
done
mkdir -p /run/user/{USER} /run/site
mknod -m 666 /run/tun c 10 200
mount --bind /run/tun /dev/net/tun
chown -R {USER}:{USER} /run/user/{USER} {STATE}
sysctl -qw net.ipv4.ip_unprivileged_port_start=443
"""
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
           "env", f"HOME={STATE}", f"XDG_RUNTIME_DIR=/run/user/{USER}")


class Unavailable(Exception):
    """The engine cannot be used on this machine, and why."""


@dataclass
class Image:
    archive: Path
    # Where nginx is in it.
    program: str


def make_image(directory):
    """nginx and what it is linked with, and nothing else, as a tar archive."""
    root = directory / "root"
    for folder in ("etc", "tmp", "run", "dev", "proc", "sys"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\n")
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    libraries = re.findall(r"(/\S+)", run("ldd", program).stdout)
    for path in {program, *libraries}:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    archive = directory / "image.tar"
    run("tar", "-C", root, "-cf", archive, ".")
    return Image(archive, program)


class Container(Namespace):
    """The network of a running container, as if it were one of a test's."""

    def __init__(self, pid):
        self._handle = os.open(f"/proc/{pid}/ns/net",
                               os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self._handle).st_ino

    def remove(self):
        os.close(self._handle)


class Engine:
    """What engines have in common: "PROGRAM run", "PROGRAM rm", ..."""

    # The words for a container on the engine's usual network.
    NETWORK = ("--network", "bridge")
    PUBLISH = ("--publish", "443:443")

    def __init__(self, namespace, program, image, more="",
                 backend="netavark"):
        self._namespace = namespace
        self._program = program
        self._image = image
        self._containers = []
        self._holder = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace.name}", "unshare",
             "--mount", "sh", "-euc", ENTER.format(
                 state=STATE, more=more, backend=backend)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        output = self._holder.stdout.readline()
        if output != "ready\n":
            self._holder.wait()
            raise Unavailable(f"no place for an engine: {output}")

    def command(self, *words):
        """To be run where the engine lives."""
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--net",
                *map(str, words)]

    def call(self, *words, **options):
        """One command of the engine's own program."""
        return run(*self.command(*self._program, *words), **options)

    def prepare(self, *words):
        """The same; where it fails there is no such engine."""
        result = self.call(*words, check=False, timeout=120)
        if result.returncode:
            raise Unavailable(result.stdout.strip())

    def import_image(self):
        with open(self._image.archive, "rb") as archive:
            result = subprocess.run(
                self.command(*self._program, "import", "-", IMAGE),
                stdin=archive, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode:
            raise Unavailable(result.stdout.strip())

    def run_container(self, site, *options):
        """nginx as @site has it, on the host's port 443 unless @options tell
        otherwise; returns the container's network."""
        name = f"container{len(self._containers)}"
        self._containers.append(name)
        self.call("run", "--detach", "--name", name, "--volume",
                  f"{self.share(site.directory)}:{site.directory}",
                  *(options or self.PUBLISH), IMAGE, self._image.program, "-c",
                  site.configuration)
        return self.serving_container(name)

    def serving_container(self, name):
        """Its network, as soon as its web server can be reached there."""
        pid = wait_until(lambda: self._inspect(name)["State"]["Pid"],
                         what=name)
        container = Container(pid)
        wait_until(lambda: self._serves(name, container), what="nginx")
        return container

    def create_network(self, name):
        self.prepare("network", "create", name)

    def move(self, name, old, new):
        """A container from one network to another."""
        self.call("network", "disconnect", old, name)
        self.call("network", "connect", new, name)
        self.serving_container(name).remove()

    def share(self, directory):
        """Where the containers find it; the engine's user must get at it."""
        return directory

    def _inspect(self, name):
        (state,) = json.loads(self.call("inspect", name, stderr=None).stdout)
        return state

    def _serves(self, name, container):
        """Itself, and the host where the engine would forward to."""
        networks = self._inspect(name)["NetworkSettings"].get("Networks", {})
        addresses = [network[kind] for network in networks.values()
                     for kind in ("IPAddress", "GlobalIPv6Address")]
        with contextlib.suppress(OSError):
            container.connect("127.0.0.1", 443).close()
            for address in filter(None, addresses):
                self._namespace.connect(address, 443, timeout=0.5).close()
            return True
        return False

    def remove_containers(self):
        for name in self._containers:
            self.call("rm", "--force", name, check=False)
        self._containers.clear()

    def stop(self):
        self.remove_containers()
        self._holder.kill()
        self._holder.wait(10)
        self._holder.stdout.close()


class Docker(Engine):
    def __init__(self, namespace, directory, image, *options):
        socket = f"unix://{STATE}/socket"
        super().__init__(namespace, ("docker", "--host", socket), image)
        self._cgroup = f"acme-containers-{os.getpid()}"
        self._log_path = directory / "dockerd.log"
        self._log = open(self._log_path, "wb")
        self._command = self.command(
            "dockerd", "--host", socket, "--pidfile", f"{STATE}/pid",
            "--data-root", f"{STATE}/data", "--exec-root", f"{STATE}/exec",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent",
            f"/{self._cgroup}", *options)
        try:
            self._start_daemon()
            self.import_image()
        except BaseException:
            self.stop()
            raise

    def _start_daemon(self):
        self._daemon = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log)
        wait_until(self._is_there, 60, "dockerd")

    def _stop_daemon(self):
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(60)

    def restart(self):
        self._stop_daemon()
        self._start_daemon()

    def _is_there(self):
        if self._daemon.poll() is not None:
            raise Unavailable(self._log_path.read_text().splitlines()[-1])
        return self.call("version", check=False).returncode == 0

    def stop(self):
        if self._daemon.poll() is None:
            self.remove_containers()
            self._stop_daemon()
        self._log.close()
        super().stop()
        for folder in Path("/sys/fs/cgroup").glob(f"**/{self._cgroup}"):
            wait_until(lambda: remove_cgroup(folder), what="an empty cgroup")


def remove_cgroup(folder):
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


class Podman(Engine):
    NETWORK = ("--network", NETWORK)
    PUBLISH = (*NETWORK, *Engine.PUBLISH)

    def __init__(self, namespace, _directory, image, backend="netavark"):
        super().__init__(
            namespace, ("env", f"CONTAINERS_CONF={STATE}/containers.conf",
                        "podman", "--root", f"{STATE}/root", "--runroot",
                        f"{STATE}/run", "--storage-driver", "overlay"), image,
            PLAIN_CGROUPS, backend)
        self._networks = itertools.count(1)
        try:
            self.import_image()
            self.create_network(NETWORK)
        except BaseException:
            self.stop()
            raise

    def create_network(self, name):
        number = next(self._networks)
        self.prepare("network", "create", "--disable-dns", "--ipv6",
                     "--subnet", f"10.89.{number}.0/24", "--subnet",
                     f"fd18:{number}::/64", name)


class RootlessPodman(Engine):
    """Ports are published by a process that listens on the host."""

    NETWORK = ("--network", "slirp4netns")

    def __init__(self, namespace, _directory, image):
        super().__init__(
            namespace, (*AS_USER, f"CONTAINERS_CONF={STATE}/containers.conf",
                        "podman", "--storage-driver", "vfs"), image,
            f"{PLAIN_CGROUPS}\n{ADD_USER}")
        try:
            self.import_image()
        except BaseException:
            self.stop()
            raise

    def share(self, directory):
        """The folders above it are root's alone."""
        run(*self.command("mount", "--bind", directory, "/run/site"))
        run("chown", "-R", f"{USER}:{USER}", directory)
        return "/run/site"


class Pasta(RootlessPodman):
    """What rootless Podman publishes ports by from 4.4 on, without Podman."""

    def __init__(self, namespace, _directory, image):
        Engine.__init__(self, namespace, (*AS_USER, "pasta"), image, ADD_USER)
        self.prepare("--version")

    def run_container(self, site, *_options):
        self.share(site.directory)
        # Of the folders above some are root's alone.
        run(*self.command("sh", "-euc", f"""
            mount -t tmpfs tmpfs {site.directory.parents[-3]}
            mkdir -p {site.directory}
            mount --bind /run/site {site.directory}"""))
        gateways = [word for address in Network.CLIENT.values()
                    for word in ("--gateway", address)]
        process = subprocess.Popen(
            self.command(*self._program, *gateways, "--foreground",
                         "--config-net", "--interface", "client",
                         "--tcp-ports", 443, "--udp-ports", "none", "--tcp-ns",
                         "none", "--udp-ns", "none", "--", "setpriv",
                         "--pdeathsig", "KILL", "nginx", "-c",
                         site.configuration),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_until((site.directory / "nginx.pid").exists, what="nginx")
        guest = PastaGuest(process)
        wait_until(guest.has_addresses, what="the guest's addresses")
        return guest


class PastaGuest:
    def __init__(self, process):
        self._process = process
        self._web = int(run("pgrep", "--parent", process.pid).stdout)

    def has_addresses(self):
        """None of IPv6 is tentative any more."""
        lines = Path(f"/proc/{self._web}/net/if_inet6").read_text().split("\n")
        return not any(int(line.split()[4], 16) & IFA_F_TENTATIVE
                       for line in filter(None, lines))

    def remove(self):
        """nginx ends with it."""
        self._process.kill()
        self._process.wait(10)
