# SPDX-License-Identifier: MIT
"""
ClientHellos, built field by field (RFC 8446 section 4.1.2), also wrong ones.
"""

import hashlib

ACME = b"acme-tls/1"
RECORD_HANDSHAKE = 0x16
HANDSHAKE_CLIENT_HELLO = 1
MAX_RECORD = 16384
GREASE = (0x0a0a, 0x2a2a)

SERVER_NAME, SUPPORTED_GROUPS, SIGNATURES, ALPN = 0, 10, 13, 16
PADDING, SUPPORTED_VERSIONS, KEY_SHARE = 21, 43, 51
X25519, X25519MLKEM768 = 29, 4588


def noise(size, seed=b"hello"):
    """The same bytes each time, and no byte like the one before it."""
    return hashlib.shake_128(seed).digest(size)


def number(value, size):
    return value.to_bytes(size, "big")


def vector(data, length_size):
    """A variable-length vector: its length, then its bytes."""
    return number(len(data), length_size) + data


def extension(kind, data):
    return number(kind, 2) + vector(data, 2)


def alpn(*protocols):
    return extension(ALPN, vector(b"".join(vector(name, 1)
                                           for name in protocols), 2))


def server_name(name=b"www.example.test"):
    return extension(SERVER_NAME, vector(b"\0" + vector(name, 2), 2))


def key_share(*groups_and_sizes):
    return extension(KEY_SHARE, vector(b"".join(
        number(group, 2) + vector(noise(size), 2)
        for group, size in groups_and_sizes), 2))


def common_extensions(group=X25519, size=32):
    return [
        extension(SUPPORTED_VERSIONS, vector(number(0x0304, 2), 1)),
        extension(SUPPORTED_GROUPS, vector(number(group, 2), 2)),
        extension(SIGNATURES, vector(bytes.fromhex("040308040401"), 2)),
        key_share((group, size)),
    ]


def body(extensions, session_id=noise(32),
         suites=bytes.fromhex("130113021303")):
    return (number(0x0303, 2) + noise(32, b"random") + vector(session_id, 1) +
            vector(suites, 2) + vector(b"\0", 1) +
            vector(b"".join(extensions), 2))


def message(hello_body, kind=HANDSHAKE_CLIENT_HELLO, length=None):
    length = len(hello_body) if length is None else length
    return number(kind, 1) + number(length, 3) + hello_body


def record(data, kind=RECORD_HANDSHAKE, length=None):
    length = len(data) if length is None else length
    return number(kind, 1) + number(0x0301, 2) + number(length, 2) + data


def records(handshake, *sizes):
    """@handshake over records of these sizes; the last has what is left."""
    result = b""
    for size in sizes:
        result += record(handshake[:size])
        handshake = handshake[size:]
    return result + record(handshake)


def challenge(*names):
    """A CA's: of one name, or of none."""
    return record(message(body([*map(server_name, names),
                                *common_extensions(), alpn(ACME)])))


def hello(*extensions):
    """One record with one whole ClientHello."""
    return record(message(body([server_name(), *common_extensions(),
                                *extensions])))
