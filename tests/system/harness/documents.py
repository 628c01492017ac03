# SPDX-License-Identifier: MIT
"""What the documents tell users to type: the lines of their ```sh blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = ("README.md", "hooks/README.md", "dist/README.md")


def blocks(document, language):
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(document):
    return [line for block in blocks(document, "sh")
            for line in block.splitlines()]


def command(document, beginning, changes=(), ending=""):
    """
    The one command that begins and ends so, as a test can run it: with each
    piece of @changes, which must be there, replaced by what fits the test.
    """
    (text,) = {line for line in commands(document)
               if line.startswith(beginning) and line.endswith(ending)}
    for old, new in dict(changes).items():
        assert old in text, f"{old!r} is not in {text!r}"
        text = text.replace(old, str(new))
    return text
