# SPDX-License-Identifier: MIT
"""The TCP segments that pass a device, in order, as both ends mean them."""

import socket
import struct
from dataclasses import dataclass

ETH_P_ALL = 3
PORT = 443
FLAGS = "FSRPAUEC"


@dataclass(frozen=True)
class Segment:
    """Numbers count from each end's own first one, as a reader of a capture
    would want them."""
    from_client: bool
    flags: str
    sequence: int
    acknowledgement: int
    length: int


def _segment(frame):
    """The addresses and the TCP header of @frame, and its payload's size."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800 and frame[23] == socket.IPPROTO_TCP:
        header = 14 + (frame[14] & 15) * 4
        end = 14 + int.from_bytes(frame[16:18], "big")
    elif kind == 0x86dd and frame[20] == socket.IPPROTO_TCP:
        header = 54
        end = 54 + int.from_bytes(frame[18:20], "big")
    else:
        return None
    fields = struct.unpack("!HHIIBB", frame[header:header + 14])
    return fields, end - header - (fields[4] >> 4) * 4


class Capture:
    """What comes and goes by @device of @namespace, for the web server."""

    def __init__(self, namespace, device="server"):
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                         socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.bind((device, ETH_P_ALL))
        self._socket.settimeout(1)

    def _frames(self):
        """Until none has come for a while."""
        while True:
            try:
                yield self._socket.recv(1 << 16)
            except TimeoutError:
                return

    def connections(self):
        """The segments of each connection so far, by the client's port."""
        first = {}
        found = {}
        for frame in self._frames():
            segment = _segment(frame)
            if not segment or PORT not in segment[0][:2]:
                continue
            (source, target, sequence, acknowledgement, _,
             flags), length = segment
            port = target if source == PORT else source
            ours, theirs = (port, source), (port, target)
            if flags & 2:
                first[ours] = sequence
            found.setdefault(port, []).append(Segment(
                source == port,
                "".join(name for bit, name in enumerate(FLAGS)
                        if flags >> bit & 1),
                sequence - first.get(ours, sequence),
                acknowledgement - first[theirs] if flags & 16 else 0,
                length))
        return found

    def close(self):
        self._socket.close()
