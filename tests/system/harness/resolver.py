# SPDX-License-Identifier: MIT
"""A name server in a namespace, and the files that lead a program to it."""

import contextlib
import socket
import struct
import threading

A, AAAA = 1, 28
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3


class Resolver:
    """
    Answers with @addresses, by name. A name without any fails (SERVFAIL), one
    that is not there does not exist, and None instead of a list is silence.
    """

    ADDRESS = "127.0.0.53"

    def __init__(self, namespace, directory, addresses):
        self._addresses = addresses
        self._file = directory / "resolv.conf"
        self._file.write_text(f"nameserver {self.ADDRESS}\n"
                              "options timeout:1 attempts:1\n")
        self._hosts = directory / "hosts"
        self._hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
        self._socket = namespace.socket(kind=socket.SOCK_DGRAM)
        self._socket.bind((self.ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            question, client = self._socket.recvfrom(2048)
            if not question:
                return
            answer = self._answer(question)
            if answer:
                self._socket.sendto(answer, client)

    def _answer(self, question):
        labels, end = [], 12
        while question[end]:
            labels.append(question[end + 1:end + 1 + question[end]].decode())
            end += 1 + question[end]
        kind = struct.unpack("!H", question[end + 1:end + 3])[0]
        name = ".".join(labels)
        if name not in self._addresses:
            code, addresses = NO_SUCH_NAME, []
        else:
            addresses = self._addresses[name]
            if addresses is None:
                return None
            code = NO_ERROR if addresses else SERVER_FAILURE
        family = socket.AF_INET if kind == A else socket.AF_INET6
        found = [socket.inet_pton(family, address) for address in addresses
                 if kind == (AAAA if ":" in address else A)]
        header = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1,
                                            len(found), 0, 0)
        return header + question[12:end + 5] + b"".join(
            struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(data)) + data
            for data in found)

    def words(self, *words):
        """For Namespace.command(): @words with this resolver, and with no
        hosts file. `ip netns exec` gives each command mounts of its own."""
        return ["sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && "
                "mount --bind \"$1\" /etc/hosts && shift && exec "
                "\"$@\"", self._file, self._hosts, *words]

    def stop(self):
        # It says that there is no connection, and wakes the thread.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
