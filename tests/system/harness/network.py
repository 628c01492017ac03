# SPDX-License-Identifier: MIT
"""
The network of the tests:

    client 192.0.2.2  ---------- 192.0.2.1     server 198.51.100.1 ---- .2 authority
           2001:db8:1::2         2001:db8:1::1        2001:db8:2::1     ::2
           visitors              web server, responder, proxy           ACME CA

A container host adds a bridge and a container behind the server's port 443:

    server 172.17.0.1 (bridge) ------ 172.17.0.2 container
           fd17::1                    fd17::2
"""

from .namespace import Namespace, add_address, link


class Hosts:
    """Namespaces that are made together, or not at all."""

    def __init__(self):
        self.namespaces = []
        try:
            self._make()
        except BaseException:
            self.remove()
            raise

    def _make(self):
        raise NotImplementedError

    def _add(self, label):
        namespace = Namespace(label)
        self.namespaces.append(namespace)
        return namespace

    def remove(self):
        for namespace in reversed(self.namespaces):
            namespace.remove()
        self.namespaces.clear()


class Network(Hosts):
    SERVER = {4: "192.0.2.1", 6: "2001:db8:1::1"}
    SERVER_FOR_AUTHORITY = {4: "198.51.100.1", 6: "2001:db8:2::1"}
    CLIENT = {4: "192.0.2.2", 6: "2001:db8:1::2"}
    AUTHORITY = {4: "198.51.100.2", 6: "2001:db8:2::2"}
    BRIDGE = {4: "172.17.0.1", 6: "fd17::1"}
    CONTAINER = {4: "172.17.0.2", 6: "fd17::2"}
    LENGTH = {4: 24, 6: 64}

    def _make(self):
        self.server = self._add("server")
        self.client = self._add("client")
        self.authority = self._add("authority")
        self._connect(self.client, "client", self.CLIENT, self.SERVER)
        self._connect(self.authority, "authority", self.AUTHORITY,
                      self.SERVER_FOR_AUTHORITY)

    def _connect(self, peer, name, peer_addresses, server_addresses):
        """A wire from the server's device @name to @peer's device "server"."""
        link(self.server, name, peer, "server")
        for family, length in self.LENGTH.items():
            add_address(self.server, name,
                        f"{server_addresses[family]}/{length}")
            add_address(peer, "server", f"{peer_addresses[family]}/{length}")
            peer.run("ip", "route", "add", "default", "via",
                     server_addresses[family])

    def add_container(self):
        """A namespace behind a bridge of the server, which forwards."""
        container = self._add("container")
        self.server.sysctl("net.ipv4.ip_forward", 1)
        self.server.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.server.run("ip", "link", "add", "name", "bridge", "type", "bridge")
        self.server.run("ip", "link", "set", "bridge", "up")
        link(self.server, "container", container, "eth0")
        self.server.run("ip", "link", "set", "container", "master", "bridge")
        for family, length in self.LENGTH.items():
            add_address(self.server, "bridge", f"{self.BRIDGE[family]}/{length}")
            add_address(container, "eth0", f"{self.CONTAINER[family]}/{length}")
            container.run("ip", "route", "add", "default", "via",
                          self.BRIDGE[family])
        return container

    def masquerade(self):
        """Lets the container out, with the server's address."""
        for family, command in ((4, "iptables"), (6, "ip6tables")):
            self.server.run(
                command, "-t", "nat", "-A", "POSTROUTING", "-s",
                f"{self.CONTAINER[family]}/{self.LENGTH[family]}", "!", "-o",
                "bridge", "-j", "MASQUERADE")

    def publish_port(self, port=443):
        """What a container engine does for "-p 443:443"."""
        self.masquerade()
        for family, command, loopback in ((4, "iptables", "127.0.0.0/8"),
                                          (6, "ip6tables", "::1")):
            address = self.CONTAINER[family]
            target = f"[{address}]:{port}" if family == 6 else f"{address}:{port}"
            local = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", "DOCKER"]
            for rule in (["-N", "DOCKER"],
                         ["-A", "PREROUTING", *local],
                         ["-A", "OUTPUT", "!", "-d", loopback, *local],
                         ["-A", "DOCKER", "!", "-i", "bridge", "-p", "tcp",
                          "--dport", port, "-j", "DNAT", "--to-destination",
                          target]):
                self.server.run(command, "-t", "nat", *rule)
