# SPDX-License-Identifier: MIT
"""A real ACME CA (Pebble, in a namespace of its own) and client (lego)."""

import ipaddress
import json
import os
import re
import signal

from .namespace import run, wait_until
from .network import Network

RESPONDER_PORT = 31443


class Authority:
    """Pebble; validates @family addresses only, through port 443."""

    def __init__(self, network, directory, family):
        self._directory = directory / "authority"
        self._directory.mkdir()
        self._namespace = network.authority
        address = Network.AUTHORITY[4]
        self.directory_url = f"https://{address}:14000/dir"
        self.certificate = self._directory / "https.crt"
        key = self._directory / "https.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            "/CN=authority", "-addext", f"subjectAltName=IP:{address}",
            "-keyout", key, "-out", self.certificate)
        configuration = self._directory / "pebble.json"
        configuration.write_text(json.dumps({"pebble": {
            "listenAddress": f"{address}:14000",
            "managementListenAddress": f"{address}:15000",
            "certificate": str(self.certificate),
            "privateKey": str(key),
            "httpPort": 80,
            "tlsPort": 443,
        }}))
        self.log = self._directory / "pebble.log"
        self._logs = []
        self._processes = []
        target = Network.SERVER_FOR_AUTHORITY
        self._launch("names.log", "pebble-challtestsrv", "-defaultIPv4",
                     target[4] if family == 4 else "", "-defaultIPv6",
                     target[6] if family == 6 else "", "-dns01",
                     "127.0.0.1:8053", "-http01", "", "-https01", "",
                     "-tlsalpn01", "", "-management", "127.0.0.1:8055")
        self._launch("pebble.log", "pebble", "-strict", "-config",
                     configuration, "-dnsserver", "127.0.0.1:8053",
                     env=dict(os.environ, PEBBLE_VA_NOSLEEP="1",
                              PEBBLE_WFE_NONCEREJECT="0",
                              PEBBLE_AUTHZREUSE="0"))
        wait_until(lambda: self._namespace.listening(14000), what="Pebble")

    def _launch(self, log_name, *words, **options):
        log = open(self._directory / log_name, "wb")
        self._logs.append(log)
        self._processes.append(self._namespace.popen(*words, stdout=log,
                                                     stderr=log, **options))

    def validations(self):
        """How many connections it made for challenges."""
        return sum(map(int, re.findall(r"Starting (\d+) validations",
                                       self.log.read_text())))

    def stop(self):
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        for log in self._logs:
            log.close()


class Issued:
    """What a certificate says of itself."""

    def __init__(self, path):
        text = run("openssl", "x509", "-in", path, "-noout", "-subject",
                   "-issuer", "-ext", "subjectAltName", "-nameopt",
                   "RFC2253").stdout
        self.subject = re.search(r"^subject=(.*)$", text, re.M).group(1)
        self.issuer = re.search(r"^issuer=(.*)$", text, re.M).group(1)
        self.names = re.findall(r"DNS:([^,\s]+)", text) + [
            str(ipaddress.ip_address(address)) for address in
            re.findall(r"IP Address:([^,\s]+)", text)]


class Client:
    """lego in @namespace, with its responder on @address, port 31443."""

    def __init__(self, namespace, directory, authority, address="127.0.0.1"):
        self._responder = f"{address}:{RESPONDER_PORT}"
        self._namespace = namespace
        self._directory = directory / "lego"
        self._authority = authority

    def order(self, name):
        """Ask for a certificate; returns the finished process."""
        return self._namespace.run(
            "lego", "--accept-tos", "--email", "admin@example.test",
            "--server", self._authority.directory_url, "--domains", name,
            "--key-type", "ec256", "--tls", "--tls.port",
            self._responder, "--path", self._directory, "run",
            env=dict(os.environ, LEGO_CA_CERTIFICATES=str(
                self._authority.certificate)), check=False, timeout=180)

    def issue(self, name):
        result = self.order(name)
        assert result.returncode == 0, (
            result.stdout + self._authority.log.read_text())
        return Issued(self._directory / "certificates" / f"{name}.crt")
