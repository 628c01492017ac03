# SPDX-License-Identifier: MIT
"""A backend that tells who it is, and keeps every byte it was sent."""

import queue
import threading
from dataclasses import dataclass


@dataclass
class Recording:
    data: bytes
    # "end" for an orderly close, else the error's name.
    ended_by: str
    peer: str


# Where a proof that visitors are served comes from, if visitors have sources of
# their own: no visitor has this one.
PROOF_SOURCE = "127.87.141.148"


def accept_visitor(listener):
    """The next connection that is no proof, with its peer."""
    while True:
        connection, peer = listener.accept()
        if not peer or peer[0] != PROOF_SOURCE:
            return connection, peer
        # One that is hung up on proves the contrary.
        with connection:
            connection.recv(1)


def _is_proof(data, peer):
    return not data and peer in (PROOF_SOURCE, "127.0.0.1", "")


def _is_whole(data):
    """Anything but the beginning of a TLS record."""
    return data and (data[0] != 0x16 or len(data) > 5 and
                     len(data) >= 5 + int.from_bytes(data[3:5], "big"))


class Recorder:
    """
    Greets each connection with its name, then listens to the end: at a port
    of @address, or at the socket that has @path. @listens_first, as a TLS
    server does: it has nothing to say before a whole hello is there, nor to
    one who leaves without a word. With @device it takes what comes by that one
    alone.
    """

    def __init__(self, namespace, name, port=None, address="127.0.0.1",
                 path=None, listens_first=False, device=None):
        self.greeting = name.encode() + b"\n"
        self._listens_first = listens_first
        self._recordings = queue.Queue()
        self._listener = (namespace.listen_on_path(path) if path
                          else namespace.listen(address, port, device=device))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._record,
                             args=(connection, peer[0] if peer else ""),
                             daemon=True).start()

    def _record(self, connection, peer):
        data = bytearray()
        ended_by = "end"
        with connection:
            try:
                while self._listens_first and not _is_whole(data):
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    data += chunk
                if data or not self._listens_first:
                    connection.sendall(self.greeting)
                while (chunk := connection.recv(65536)):
                    data += chunk
            except OSError as error:
                ended_by = type(error).__name__
        if not _is_proof(data, peer):
            self._recordings.put(Recording(bytes(data), ended_by, peer))

    def next(self, timeout=60):
        """The recording of the connection that ended next."""
        return self._recordings.get(timeout=timeout)

    @property
    def idle(self):
        return self._recordings.empty()

    def stop(self):
        # close() alone does not wake a thread out of accept().
        self._listener.shutdown(2)
        self._listener.close()
