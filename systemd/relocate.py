"""Lets the scripts of an environment that was made at one place name the one that it will be at: `relocate.py AT FOR`.

`systemd/install.sh` runs it for a package, with the system's Python.
"""

import re
import sys
from pathlib import Path

# How pip starts an interpreter whose path is too long for a first line, or has blanks in it.
_BY_SHELL = re.compile(rb"""\A\#!/bin/sh\n'''exec'\ "?([^"\n]+?)"?\ "\$0"\ "\$@"\n'\ '''\n""", re.VERBOSE)
_LONGEST = 120


def relocated(content: bytes, at: bytes, wanted: bytes) -> bytes:
    """The content of a script or of pyvenv.cfg, with every mention of `at` replaced."""
    content = content.replace(at, wanted)
    started = _BY_SHELL.match(content)
    if started and b" " not in started[1] and len(started[1]) <= _LONGEST:
        content = b"#!" + started[1] + b"\n" + content[started.end() :]
    return content


if __name__ == "__main__":
    environment = Path(sys.argv[1])
    for file in [environment / "pyvenv.cfg", *(environment / "bin").iterdir()]:
        if file.is_file() and not file.is_symlink():
            before = file.read_bytes()
            after = relocated(before, sys.argv[1].encode(), sys.argv[2].encode())
            if after != before:
                file.write_bytes(after)
