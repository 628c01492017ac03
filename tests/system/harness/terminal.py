# SPDX-License-Identifier: MIT
"""A terminal of a test's own."""

import contextlib
import os
import pty


def on_a_terminal(product, *words):
    """Runs it with a terminal; the process, and our end of the terminal."""
    ours, theirs = pty.openpty()
    process = product.popen(*words, stdin=theirs, stdout=theirs,
                            stderr=theirs)
    os.close(theirs)
    return process, ours


def read_until(terminal, text):
    """All that is shown until that is, too."""
    shown = b""
    while text.encode() not in shown:
        shown += os.read(terminal, 4096)
    return shown.decode()


def read_to_the_end(terminal):
    text = b""
    # EIO: the last process has closed its end.
    with contextlib.suppress(OSError):
        while (chunk := os.read(terminal, 4096)):
            text += chunk
    os.close(terminal)
    return text.decode()
