# SPDX-License-Identifier: MIT
"""A flood of SYNs from forged addresses (tests/tools/flood.c)."""

import json
import subprocess

from .namespace import Namespace, add_address, link


class Flood:
    """
    It comes to @network's server, and its answers go, by a wire that nobody
    else has to share.
    """

    ADDRESS = "203.0.113.1"
    FORGED = "198.18.0.0/16"
    # More than conntrack has room for, within seconds on an idle core.
    COUNT = 1_000_000

    def __init__(self, network, tool):
        self._tool = tool
        self._server = network.server
        self._namespace = Namespace("flood")
        network.namespaces.append(self._namespace)
        link(self._server, "flood", self._namespace, "server")
        # With a queue of its own: the others' would overflow with it.
        self._server.run("ethtool", "-K", "flood", "gro", "on")
        add_address(self._server, "flood", f"{self.ADDRESS}/24")
        add_address(self._namespace, "server", "203.0.113.2/24")
        self._server.run("ip", "route", "add", self.FORGED, "via",
                         "203.0.113.2")

    def send(self, seconds=15):
        """Returns the process, which ends by itself: by then at the latest."""
        device = json.loads(self._server.run(
            "ip", "-j", "link", "show", "flood").stdout)[0]
        return self._server.popen(self._tool, "flood", device["address"],
                                  self.ADDRESS, 443, self.COUNT, seconds,
                                  stdout=subprocess.PIPE)

    @staticmethod
    def finish(process):
        """Returns how many SYNs it sent."""
        output, _ = process.communicate()
        assert process.returncode == 0
        result = json.loads(output)
        print(f"{result['sent']} SYNs in {result['seconds']} s: "
              f"{result['sent'] / result['seconds']:.0f}/s")
        return result["sent"]
