# SPDX-License-Identifier: MIT
"""
The Containerfile's image, run as the DaemonSet says: an empty root, read-only,
on the host's network, with the very capabilities of the example.
"""

import base64
import contextlib
import itertools
import os
import re
import shlex
import subprocess

import pytest
import yaml

from conftest import ROOT
from harness import hello, residue
from harness.documents import command, commands
from harness.lego import parse
from harness.namespace import run, wait_until
from harness.network import Network
from harness.recorder import Recorder

IMAGE = "acme-alpn-proxy:0.1.0"
DAEMONSET = ROOT / "dist/kubernetes/daemonset.yaml"
ACME_CLIENT = ROOT / "dist/kubernetes/acme-client.yaml"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def storage(built, tmp_path_factory):
    """Where the engines keep the image, which is built as documented."""
    folder = tmp_path_factory.mktemp("storage")
    words = ["--root", str(folder / "root"), "--runroot", str(folder / "run"),
             "--storage-driver", "vfs"]
    # By "make tarball".
    assert (built.parent / "build/static/acme-alpn-proxy").exists()
    run("sh", "-euc", command("dist/README.md", "buildah build", {
        "buildah build": f"buildah {' '.join(words)} build --isolation chroot"
    }), cwd=built.parent)
    return words


@pytest.fixture
def network():
    made = Network()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def container():
    """What the DaemonSet says of the container, and of its pod."""
    pod = yaml.safe_load(DAEMONSET.read_text())["spec"]["template"]["spec"]
    assert pod["hostNetwork"]
    (only,) = pod["containers"]
    assert only["image"] == IMAGE
    return only


class Pod:
    """A container in @network's server: "podman run" with @words."""

    def __init__(self, network, storage, words):
        self._engine = ["podman", *storage, "--cgroup-manager", "cgroupfs",
                        "--runtime", "runc"]
        self._name = f"acme-packages-{os.getpid()}-{next(_numbers)}"
        self._process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{network.server.name}", "unshare",
             "--mount", *self._engine, "run", "--name", self._name,
             # Those of an engine may be above what it is allowed itself.
             "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096",
             *words], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def probe(self, command):
        return run(*self._engine, "exec", self._name, *command, check=False,
                   stderr=None)

    def wait_ready(self, probe):
        wait_until(lambda: self._process.poll() is not None or
                   self.probe(probe).returncode == 0, 20, "a ready pod")
        assert self._process.poll() is None, self._process.stdout.read()

    def finish(self):
        """Its exit code and what it logged."""
        output, _ = self._process.communicate(timeout=30)
        return self._process.returncode, output

    def stop(self):
        run(*self._engine, "stop", "--time", "20", self._name, check=False)
        return self.finish()


def as_the_daemonset_says(container, capabilities):
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]
    run_folder, btf = container["volumeMounts"]
    return ["--rm", "--network", "host", "--read-only", "--security-opt",
            "no-new-privileges", "--security-opt", "seccomp=unconfined",
            "--cap-drop", "ALL", *(f"--cap-add={name}"
                                   for name in capabilities),
            "--tmpfs", run_folder["mountPath"],
            "--volume", f"/sys/kernel/btf:{btf['mountPath']}:ro",
            IMAGE, *arguments_of(container)]


@pytest.fixture
def start(network, storage):
    """Call it with the words behind "podman run"."""
    made = []

    def start(words):
        made.append(Pod(network, storage, words))
        return made[-1]
    yield start
    for pod in made:
        with contextlib.suppress(ValueError):
            pod.stop()


@pytest.fixture
def start_pod(start, container):
    return lambda capabilities: start(
        as_the_daemonset_says(container, capabilities))


def capabilities_of(container):
    return container["securityContext"]["capabilities"]["add"]


def arguments_of(container):
    """In this network there is no cluster with names."""
    return [word.replace("acme-responder.acme.svc.cluster.local", "127.0.0.1")
            for word in container["args"]]


def test_pod_serves_and_leaves_nothing(network, container, start_pod):
    backends = {hello.ACME: Recorder(network.server, "responder", 31443),
                b"h2": Recorder(network.server, "web", 443, "0.0.0.0",
                                listens_first=True)}
    clean = residue.snapshot(network.server)
    pod = start_pod(capabilities_of(container))
    probe = container["readinessProbe"]["exec"]["command"]
    pod.wait_ready(probe)
    for protocol, backend in backends.items():
        with network.client.connect(Network.SERVER[4], 443) as visitor:
            visitor.sendall(hello.hello(hello.alpn(protocol)))
            assert visitor.recv(100) == backend.greeting
    # What was taken from it comes first.
    web = backends[b"h2"]
    assert [web.next().data, web.next().peer] == [b"", Network.CLIENT[4]]
    status = pod.probe([*probe, "--json"]).stdout
    # Everything that the kernel has, in a root without a single file of use.
    for kind in ("user", "capabilities", "root", "files", "calls"):
        assert f'"{kind}"' in status
    code, log = pod.stop()
    assert code == 0, log
    assert "does not work here" not in log
    assert "1 to the ACME responder, 0 to the web server" in log
    assert residue.snapshot(network.server) == clean
    for backend in backends.values():
        backend.stop()


@pytest.mark.parametrize("missing", ["NET_ADMIN", "SYS_ADMIN", "SETUID",
                                     "SETGID"])
def test_no_capability_is_too_many(missing, container, start_pod):
    """Without one of these it says so and does not start."""
    pod = start_pod([name for name in capabilities_of(container)
                     if name != missing])
    code, log = pod.finish()
    assert code == 1
    assert "error: " in log


def test_without_what_confines_the_worker_there_is_less(container, start_pod):
    pod = start_pod([name for name in capabilities_of(container)
                     if name != "SYS_CHROOT"])
    probe = container["readinessProbe"]["exec"]["command"]
    pod.wait_ready(probe)
    assert '"root"' not in pod.probe([*probe, "--json"]).stdout
    assert pod.stop()[0] == 0


def test_without_the_right_to_the_port_it_steers(container, start_pod):
    pod = start_pod([name for name in capabilities_of(container)
                     if name != "NET_BIND_SERVICE"])
    pod.wait_ready(container["readinessProbe"]["exec"]["command"])
    code, log = pod.stop()
    assert code == 0
    assert "handoff does not work here: it needs CAP_NET_BIND_SERVICE" in log
    assert "eBPF steers port 443" in log


def test_other_capabilities_do_where_no_port_is_published(container,
                                                          start_pod):
    """As the comment in the example says."""
    capabilities = {*capabilities_of(container), "BPF", "PERFMON"}
    pod = start_pod(capabilities - {"SYS_ADMIN"})
    pod.wait_ready(container["readinessProbe"]["exec"]["command"])
    code, log = pod.stop()
    assert code == 0
    assert "hands off the challenges" in log


def test_documented_container(network, container, start):
    """Its command has the DaemonSet's capabilities; podman's own seccomp
    profile allows what they are for."""
    words = shlex.split(command("dist/README.md", "podman run"))[2:]
    assert words[-1] == IMAGE
    (added,) = [words[i + 1] for i, word in enumerate(words)
                if word == "--cap-add"]
    assert added.split(",") == capabilities_of(container)
    pod = start(words)
    probe = container["readinessProbe"]["exec"]["command"]
    pod.wait_ready(probe)
    assert "not handoff, because nobody listens" in pod.probe(probe).stdout
    code, log = pod.stop()
    assert code == 0, log


def test_documented_kubectl(acme_client):
    """No cluster is here: it names what the examples make."""
    namespace, apply, create = [shlex.split(line) for line in commands(
        "dist/README.md") if line.startswith("kubectl ")]
    assert namespace[1:3] == ["create", "namespace"]
    made = [one for path in apply if path.endswith(".yaml")
            for one in yaml.safe_load_all((ROOT / path).read_text())]
    assert {one["kind"] for one in made} == {*acme_client, "DaemonSet"}
    assert {one["metadata"]["namespace"] for one in made} == {
        namespace[3], create[create.index("-n") + 1]}
    assert create[-1] == f"cronjob/{acme_client['CronJob']['metadata']['name']}"


# What it is told, and that it did.
LEGO = '''#!/bin/sh
printf '%s\\n' "$@" >"{tmp}/words"
mkdir -p {tmp}/data/certificates
echo certificate >{tmp}/data/certificates/www.example.org.crt
echo key >{tmp}/data/certificates/www.example.org.key
'''


@pytest.fixture(scope="module")
def acme_client():
    """What there is of it, by kind."""
    return {one["kind"]: one
            for one in yaml.safe_load_all(ACME_CLIENT.read_text())}


def test_acme_client_is_where_challenges_are_sent(acme_client, container):
    service, job = acme_client["Service"], acme_client["CronJob"]
    name = "{name}.{namespace}".format(**service["metadata"])
    (port,) = service["spec"]["ports"]
    assert (f"--alpn={name}.svc.cluster.local:{port['port']}" in
            container["args"])
    # It answers in the pod's first step.
    assert service["spec"]["publishNotReadyAddresses"]
    template = job["spec"]["jobTemplate"]["spec"]["template"]
    assert template["metadata"]["labels"] == service["spec"]["selector"]
    (lego,) = template["spec"]["initContainers"]
    assert lego["ports"][0]["containerPort"] == port["port"]


def test_acme_client_makes_a_secret(acme_client, tmp_path):
    """Of what lego obtains the first time, and renews from then on."""
    job = acme_client["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    (lego,) = job["spec"]["initContainers"]
    (script,) = lego["args"]
    (tmp_path / "secret").mkdir()
    (tmp_path / "lego").write_text(LEGO.format(tmp=tmp_path))
    (tmp_path / "lego").chmod(0o755)
    script = re.sub(r"(?<!\w)/(lego|data|secret)\b", rf"{tmp_path}/\1",
                    script)
    environment = {"PATH": os.environ["PATH"],
                   **{variable["name"]: variable["value"]
                      for variable in lego["env"]}}
    for wanted in ("run", "renew"):
        run(*lego["command"], script, env=environment)
        operation, options = parse(
            4, (tmp_path / "words").read_text().splitlines())
        assert operation == wanted
        assert ("--tls.port", ":31443") in options
        made = yaml.safe_load((tmp_path / "secret/secret.yaml").read_text())
        assert made["type"] == "kubernetes.io/tls"
        assert {name: base64.b64decode(value)
                for name, value in made["data"].items()} == {
                    "tls.crt": b"certificate\n", "tls.key": b"key\n"}
    # What it is called is what may be changed.
    assert acme_client["Role"]["rules"][1]["resourceNames"] == [
        made["metadata"]["name"]]


def test_image_holds_a_program_and_a_user(storage, tmp_path):
    name = run("buildah", *storage, "from", IMAGE).stdout.strip()
    root = run("buildah", *storage, "mount", name).stdout.strip()
    assert set(run("find", root, "-type", "f", "-printf",
                   "%P\n").stdout.split()) == {"acme-alpn-proxy", "etc/passwd"}
    assert run("chroot", root, "/acme-alpn-proxy", "--version").stdout
    run("buildah", *storage, "rm", name)
