# SPDX-License-Identifier: MIT
"""The proxies that are compared: how each is configured and run.

All run in the foreground with one process or thread that relays, and with
their packages' defaults but for what a fair run needs: enough descriptors, a
long backlog, no log.
"""

import glob
import os
import resource
import shutil
import signal
import subprocess

# Where the programs of this folder are built.
TOOLS = os.path.abspath(os.path.join(os.environ.get("BUILD", "build"), "bench"))

# Nothing else has these ports: the run has a network namespace of its own.
FALLBACK_PORT = 9443
ALPN_PORT = 31443
TLS_PORT = 8443
PROXY_PORT = 21443

HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
    maxpipes 500
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {splice}
frontend tls
    bind :{port} backlog 65535
    maxconn {connections}
    tcp-request inspect-delay 3s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend responder if {{ req.ssl_alpn acme-tls/1 }}
    default_backend web
backend responder
    server responder 127.0.0.1:{alpn}
backend web
    server web 127.0.0.1:{fallback}
"""

NGINX = """\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections {descriptors}; }}
stream {{
    map $ssl_preread_alpn_protocols $backend {{
        ~\\bacme-tls/1\\b 127.0.0.1:{alpn};
        default          127.0.0.1:{fallback};
    }}
    server {{
        listen {port} backlog=65535;
        ssl_preread on;
        proxy_timeout 1h;
        proxy_pass $backend;
    }}
}}
"""

# It knows names alone, so the responder's hello must have a name of its own.
SNIPROXY = """\
user root
pidfile {folder}/sniproxy.pid
error_log {{ filename {folder}/sniproxy.log
    priority emergency
}}
listen 127.0.0.1:{port} {{
    proto tls
    table names
    fallback 127.0.0.1:{fallback}
    access_log {{ filename /dev/null
        priority emergency
    }}
}}
table names {{
    ^acme\\.example$ 127.0.0.1:{alpn}
    .* 127.0.0.1:{fallback}
}}
"""


class Peer:
    """One contestant; start() and stop() any number of times."""

    name = ""
    note = ""
    program = ""
    # Which backend must be reached by (ALPN, server name).
    routes = {("http/1.1", "web.example"): "F", ("acme-tls/1", "acme.example"): "A"}
    port = PROXY_PORT
    # Is it made for short connections and nothing else?
    short_alone = False

    def __init__(self, folder, proxy_cpu):
        self.folder = folder
        self.proxy_cpu = proxy_cpu
        self.process = None

    def available(self):
        """None, or why it cannot take part."""
        return None if shutil.which(self.program) else f"{self.program} is not installed"

    def version(self):
        return ""

    def command(self, fallback):
        """The program's arguments, any configuration written; @fallback is a port."""
        raise NotImplementedError

    def configure(self, text, fallback, **values):
        path = os.path.join(self.folder, self.name + ".conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(
                text.format(
                    port=self.port,
                    alpn=ALPN_PORT,
                    fallback=fallback,
                    folder=self.folder,
                    **values,
                )
            )
        return path

    def environment(self):
        return dict(os.environ)

    def pinned(self, command):
        return ["taskset", "--cpu-list", str(self.proxy_cpu), *command]

    def start(self, fallback=FALLBACK_PORT):
        log = open(os.path.join(self.folder, self.name + ".out"), "wb")
        self.process = subprocess.Popen(
            self.pinned(self.command(fallback)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self.environment(),
        )
        log.close()

    def stop(self):
        processes = process_tree(self.process.pid)
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        # The others are our children now, as we are the namespace's first
        # process; while they end they still hold the port.
        for pid in processes[1:]:
            os.waitpid(pid, 0)
        self.process = None
        self.forget()

    def forget(self):
        """Remove what tells the next start of the one that was killed."""


class Ours(Peer):
    name = "acme-alpn-proxy"
    program = os.environ.get("PROGRAM", "build/acme-alpn-proxy")

    def command(self, fallback):
        return [
            os.path.abspath(self.program),
            "start",
            "--no-redirect",
            "--listen",
            str(self.port),
            "-alpn",
            f"127.0.0.1:{ALPN_PORT}",
            "-fallback",
            f"127.0.0.1:{fallback}",
            "--log-file",
            os.path.join(self.folder, "acme-alpn-proxy.log"),
        ]

    def environment(self):
        return dict(os.environ, ACME_ALPN_PROXY_PIDFILE=self.pidfile())

    def pidfile(self):
        return os.path.join(self.folder, "acme-alpn-proxy.pid")

    def forget(self):
        if os.path.exists(self.pidfile()):
            os.unlink(self.pidfile())

    def version(self):
        return subprocess.run(
            [self.program, "--version"], capture_output=True, text=True, check=False
        ).stdout.split("\n")[0]


class Haproxy(Peer):
    name = "haproxy"
    note = "option splice-auto"
    program = "haproxy"
    splice = "option splice-auto"

    def command(self, fallback):
        limit = descriptor_limit()
        path = self.configure(
            HAPROXY, fallback, splice=self.splice, connections=(limit - 1200) // 2
        )
        return [shutil.which("haproxy"), "-db", "-q", "-f", path]

    def version(self):
        output = subprocess.run(
            ["haproxy", "-v"], capture_output=True, text=True, check=False
        ).stdout
        return "HAProxy " + output.split()[2]


class HaproxySplice(Haproxy):
    name = "haproxy-splice"
    note = "option splice-request, splice-response"
    splice = "option splice-request\n    option splice-response"


class Nginx(Peer):
    name = "nginx"
    note = "stream, ssl_preread"
    program = "nginx"

    def available(self):
        if not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so"):
            return "libnginx-mod-stream is not installed"
        return super().available()

    def command(self, fallback):
        path = self.configure(NGINX, fallback, descriptors=descriptor_limit())
        return [shutil.which("nginx"), "-c", path, "-e", "/dev/null"]

    def version(self):
        return subprocess.run(
            ["nginx", "-v"], capture_output=True, text=True, check=False
        ).stderr.split(": ")[1].strip()


class Ualpn(Peer):
    name = "ualpn"
    note = "answers acme-tls/1 itself"
    program = "ualpn"
    routes = {("http/1.1", "web.example"): "F"}

    def command(self, fallback):
        return [
            shutil.which("ualpn"),
            "-n1",
            "-P0",
            "-b",
            f"127.0.0.1@{self.port}",
            "-c",
            f"127.0.0.1@{fallback}",
            "-p",
            os.path.join(self.folder, "ualpn.pid"),
            "-s",
            os.path.join(self.folder, "ualpn.sock"),
        ]

    def version(self):
        return (
            subprocess.run(["ualpn", "-V"], capture_output=True, text=True, check=False)
            .stderr.split("\n")[0]
            .replace("ualpn: version ", "ualpn ")
        )


class Sniproxy(Peer):
    name = "sniproxy"
    note = "routes by name: cannot judge ALPN"
    program = "sniproxy"

    def command(self, fallback):
        path = self.configure(SNIPROXY, fallback)
        return [shutil.which("sniproxy"), "-f", "-c", path]

    def version(self):
        return subprocess.run(
            ["sniproxy", "-V"], capture_output=True, text=True, check=False
        ).stdout.strip()


class Bare(Peer):
    """What of a relay's cost is the kernel's."""

    name = "bare relay"
    note = "epoll, judges nothing: what the kernel alone costs"
    program = os.path.join(TOOLS, "bare")
    routes = {("http/1.1", "web.example"): "F"}
    short_alone = True

    def command(self, fallback):
        return [self.program, str(self.port), str(fallback)]


class Direct(Peer):
    """No proxy at all: what load and backend alone can do."""

    name = "direct"
    note = "no proxy"
    routes = {("http/1.1", "web.example"): "F"}
    port = FALLBACK_PORT

    def available(self):
        return None

    def start(self, fallback=FALLBACK_PORT):
        self.port = fallback

    def stop(self):
        self.port = FALLBACK_PORT


PEERS = [Ours, Haproxy, HaproxySplice, Nginx, Ualpn, Sniproxy, Bare, Direct]


def process_tree(root):
    """The pid of @root and those of all processes that come from it."""
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.split("/")[2]))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, []))
    return tree


def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
