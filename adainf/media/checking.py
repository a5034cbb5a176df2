"""Which pictures can be decoded, found out by processes that may die of one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adainf.media.undecodable import UndecodableError

__all__ = ["undecodable"]

_MOST_PROCESSES = 8
_WORTH_A_PROCESS = 200
_DEADLY = "a process that decoded it ended"


def undecodable(paths: Sequence[Path]) -> dict[int, str]:
    """The rows of `paths` that are no pictures that can be decoded, and why."""
    count = max(1, min(len(os.sched_getaffinity(0)), _MOST_PROCESSES, len(paths) // _WORTH_A_PROCESS))
    found: dict[int, str] = {}
    with ThreadPoolExecutor(count) as pool:
        for number, reasons in enumerate(pool.map(_reasons, [paths[number::count] for number in range(count)])):
            found |= {number + count * row: why for row, why in enumerate(reasons) if why}
    return dict(sorted(found.items()))


def _reasons(paths: Sequence[Path]) -> list[str]:
    """Why each of them cannot be decoded; empty where it can."""
    reasons: list[str] = []
    while len(reasons) < len(paths):
        # Not multiprocessing, which would run a script of ours again that has no `if __name__ == "__main__"`.
        checked = subprocess.run(
            [sys.executable, "-m", "adainf.media.checking"],
            input=b"\0".join(os.fsencode(path) for path in paths[len(reasons) :]),
            capture_output=True,
            check=False,
        )
        if checked.returncode > 0:  # no picture's doing, which would end it by a signal
            raise RuntimeError(f"the process that checks pictures failed: {checked.stderr.decode(errors='replace')}")
        reasons += [line.decode() for line in checked.stdout.splitlines()]
        if len(reasons) < len(paths):
            reasons.append(_DEADLY)
    return reasons


def _check() -> None:
    """Decode what stdin names, and say of each on a line why that cannot be done."""
    from adainf.media.pictures import decode

    for name in sys.stdin.buffer.read().split(b"\0"):
        why = ""
        try:
            decode(Path(os.fsdecode(name)))
        except UndecodableError as error:
            why = error.why
        sys.stdout.buffer.write(why.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _check()
