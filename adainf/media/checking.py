"""Checking which pictures can be decoded, in subprocesses that a picture may crash."""

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
    """Return the rows of `paths` that cannot be decoded, each with the reason."""
    count = max(1, min(len(os.sched_getaffinity(0)), _MOST_PROCESSES, len(paths) // _WORTH_A_PROCESS))
    found: dict[int, str] = {}
    with ThreadPoolExecutor(count) as pool:
        for number, reasons in enumerate(pool.map(_reasons, [paths[number::count] for number in range(count)])):
            found |= {number + count * row: reason for row, reason in enumerate(reasons) if reason}
    return dict(sorted(found.items()))


def _reasons(paths: Sequence[Path]) -> list[str]:
    """Return for each path why it cannot be decoded, or an empty string if it can."""
    reasons: list[str] = []
    while len(reasons) < len(paths):
        # Not multiprocessing, which would run the user's script again if it lacks `if __name__ == "__main__"`.
        checked = subprocess.run(
            [sys.executable, "-m", "adainf.media.checking"],
            input=b"\0".join(os.fsencode(path) for path in paths[len(reasons) :]),
            capture_output=True,
            check=False,
        )
        if checked.returncode > 0:  # a picture that crashes the process ends it by a signal
            raise RuntimeError(f"the process that checks pictures failed: {checked.stderr.decode(errors='replace')}")
        reasons += [line.decode() for line in checked.stdout.splitlines()]
        if len(reasons) < len(paths):
            reasons.append(_DEADLY)
    return reasons


def _check() -> None:
    """Decode the NUL-separated paths on stdin; write one line each: empty, or why it cannot be decoded."""
    from adainf.media.pictures import decode

    for name in sys.stdin.buffer.read().split(b"\0"):
        reason = ""
        try:
            decode(Path(os.fsdecode(name)))
        except UndecodableError as error:
            reason = error.why
        sys.stdout.buffer.write(reason.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _check()
