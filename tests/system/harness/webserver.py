# SPDX-License-Identifier: MIT
"""nginx with a page, a certificate and headers that tell of its peer."""

import hashlib
import os
import signal
import ssl

from .namespace import run, wait_until

CONFIGURATION = """\
user root;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error.log info;
events {{ worker_connections 16384; }}
http {{
    access_log {directory}/nginx.access.log;
    default_type application/octet-stream;
    client_body_temp_path {directory}/nginx.body;
    proxy_temp_path {directory}/nginx.proxy;
    fastcgi_temp_path {directory}/nginx.fastcgi;
    uwsgi_temp_path {directory}/nginx.uwsgi;
    scgi_temp_path {directory}/nginx.scgi;
    keepalive_timeout 600s;
    keepalive_requests 100000;
    server {{
{listen}
        ssl_certificate {directory}/{name}.crt;
        ssl_certificate_key {directory}/{name}.key;
        ssl_session_cache off;
        root {directory}/{name};
{settings}
        add_header X-Peer $remote_addr always;
        add_header X-Announced "$proxy_protocol_addr $proxy_protocol_port \
$proxy_protocol_server_addr $proxy_protocol_server_port" always;
    }}
}}
"""
PAGE_SIZE = 4096
LISTEN = ("0.0.0.0:443", "[::]:443")


class Certificate:
    """A self-signed certificate; ECDSA, so that handshakes are cheap."""

    def __init__(self, directory, name):
        self.path = directory / f"{name}.crt"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout",
            directory / f"{name}.key", "-out", self.path)
        der = ssl.PEM_cert_to_DER_cert(self.path.read_text())
        self.fingerprint = hashlib.sha256(der).hexdigest()


class Site:
    """What nginx needs to serve one page to every visitor, in a folder."""

    def __init__(self, directory, name="www.example.test", listen=LISTEN,
                 settings=""):
        self.name = name
        self.directory = directory / f"nginx-{name}"
        (self.directory / name).mkdir(parents=True)
        self.certificate = Certificate(self.directory, name)
        self.page = self.directory / name / "index.html"
        self.page.write_bytes(os.urandom(PAGE_SIZE))
        self.configuration = self.directory / "nginx.conf"
        self.configuration.write_text(CONFIGURATION.format(
            directory=self.directory, name=name, settings=settings,
            listen="\n".join(f"        listen {address} ssl backlog=4096"
                             f"{' ipv6only=on' if '[' in address else ''};"
                             for address in listen)))


class WebServer(Site):
    """nginx in @namespace."""

    def __init__(self, namespace, directory, *site, port=443, **options):
        super().__init__(directory, *site, **options)
        self._port = port
        self._log = open(self.directory / "nginx.output", "wb")
        self._process = namespace.popen("nginx", "-c", self.configuration,
                                        stdout=self._log, stderr=self._log)
        wait_until(lambda: self._serving(namespace), what="nginx")

    def _serving(self, namespace):
        if self._process.poll() is not None:
            raise AssertionError("nginx: " +
                                 (self.directory / "nginx.output").read_text())
        return namespace.listening(self._port)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._log.close()
