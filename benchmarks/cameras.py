"""One processor, many cameras: what a frame costs with 1, 2, 4 and 8 of them.

    python benchmarks/cameras.py [VIDEO] [--seconds 8] [--fps 8] [--write]

Each camera plays the video by itself, so many frames a second; a policy without rules gives a quarter of the MACs to
each frame. Processor time is that of the daemon's own processes, per frame captured, without the start.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from adainfd.client import Result, Subscriber
from adainfd.terminal.demo import demo_clip
from exports import make_exports
from startup import processes
from tables import Figure, Table, finish, limits

_PAGE = "performance.md"
_COUNTS = (1, 2, 4, 8)
_START_WITHIN_SECONDS = 120.0
_BUDGET = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a number of cameras.

    milliseconds: CPU time per captured frame. answered: share of the frames. total_p50, total_p95: latency in
    milliseconds.
    """

    cameras: int
    milliseconds: float
    answered: float
    total_p50: float
    total_p95: float


def processor_seconds(daemon: int) -> float:
    """Return the CPU time that a daemon and all its subprocesses have used so far, in seconds."""
    seconds = 0.0
    for number in processes(daemon):
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def watch(cameras: int, video: Path, folder: Path, seconds: float, fps: float) -> Load:
    """Run a daemon with a number of cameras and measure it for `seconds`."""
    policy, file, endpoint = folder / "policy.toml", folder / f"{cameras}.toml", f"ipc://{folder}/results"
    policy.write_text(f"[budget]\nmaximum = {_BUDGET}\nminimum = {_BUDGET}\n")
    lines = [f'[model]\npolicy = "{policy}"\n[publish]\nbind = ["{endpoint}"]']
    lines += [
        f'[[camera]]\nname = "camera{number}"\nsource = "{video}"\nloop = true\nfps = {fps}'
        for number in range(cameras)
    ]
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon, Subscriber(endpoint) as messages:
        try:
            while not isinstance(messages.receive(_START_WITHIN_SECONDS), Result):
                pass
            _results(messages, 1.0)  # let the start settle
            begun, before = time.monotonic(), processor_seconds(daemon.pid)
            results = _results(messages, seconds)
            elapsed, spent = time.monotonic() - begun, processor_seconds(daemon.pid) - before
        finally:
            daemon.terminate()
    captured = cameras * fps * elapsed
    totals = [result.timing_ms.total for result in results]
    return Load(
        cameras,
        1e3 * spent / captured,
        min(1.0, len(results) / captured),
        statistics.median(totals),
        statistics.quantiles(totals, n=20)[-1],
    )


def _results(messages: Subscriber, seconds: float) -> list[Result]:
    end = time.monotonic() + seconds
    results = []
    while (left := end - time.monotonic()) > 0:
        message = messages.receive(left)
        if isinstance(message, Result):
            results.append(message)
    return results


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--fps", type=float, default=8.0)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    make_exports()
    video = arguments.video or demo_clip()
    with tempfile.TemporaryDirectory() as folder:
        loads = [watch(count, video, Path(folder), arguments.seconds, arguments.fps) for count in _COUNTS]
    rows = [
        (
            str(load.cameras),
            f"{load.milliseconds:.1f}",
            f"{load.answered:.1%}",
            f"{load.total_p50:.1f}",
            f"{load.total_p95:.1f}",
        )
        for load in loads
    ]
    headings = ("cameras", "processor time a frame, ms", "frames answered", "latency p50, ms", "p95, ms")
    table = Table(f"Cameras of {arguments.fps:g} frames a second, {_BUDGET:.0%} of the MACs each", headings, rows)
    figures = [
        Figure("processor time a frame with 8 cameras, to one's", loads[-1].milliseconds / loads[0].milliseconds, 1.1),
        Figure("frames answered with 8 cameras", loads[-1].answered, 0.99, at_least=True, form="{:.1%}"),
    ]
    return finish("cameras.py", [table, limits(figures)], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
