"""What a frame costs the daemon's main loop, from shared memory to the published message, without a forward pass.

    python benchmarks/loop.py [--cameras 32] [--fps 25] [--seconds 10] [--profile FILE] [--write]

The whole daemon with one part replaced: the engine prepares and runs pictures in no time, as a large GPU nearly does.
Cameras show small pictures that change, one reader takes every message. The time is the main thread's own, so that
other programs do not count. --profile keeps what cProfile finds, for `python -m pstats`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from adainfd.client import Result, Subscriber
from numpy.typing import NDArray
from tables import Figure, Table, finish, limits

from adainf.branch import REFERENCE, Branch
from adainf.engines import SIZES

_PAGE = "gpu.md"
_CAMERAS, _FPS = 32, 25.0
_START_WITHIN_SECONDS = 120.0
_SETTLING_SECONDS = 3.0
_PICTURES, _HEIGHT, _WIDTH = 50, 54, 96
# Share of one core; the other half is for the GPU driver and for preparing pictures.
_LIMIT_SHARE = 0.5


class Instant:
    """A stand-in for the default network's engine that takes no time.

    Its random scores are drawn once.
    """

    name = "instant"
    device = "none"
    on_gpu = False
    threads = 1
    sizes = SIZES

    def __init__(self, engine: Any) -> None:
        self.outlines, self.class_names = engine.outlines, engine.class_names
        drawn = 4 * np.random.default_rng(0).standard_normal((SIZES[-1], len(self.class_names)))
        self._scores: NDArray[np.float32] = drawn.astype(np.float32)

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Do nothing: every branch is ready."""

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Return True: every branch is ready."""
        del branch, pictures
        return True

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def prepare(
        self, picture: NDArray[np.uint8], resolution: int, network: str = REFERENCE, *, mirrored: bool = False
    ) -> NDArray[np.uint8]:
        """Return the picture unchanged."""
        del resolution, network, mirrored
        return picture

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Return the drawn scores (pictures, classes)."""
        del branches
        return self._scores[: len(inputs)]


def be_the_daemon(configuration: Path, profile: Path | None) -> None:
    """Run the daemon with the instant engine until it is asked to stop.

    profile: file for cProfile's figures.
    """
    import cProfile
    from dataclasses import replace

    import structlog
    from adainfd.config.configuration import Configuration
    from adainfd.runtime import daemon

    loaded = daemon.load_recogniser

    def instant(*arguments: Any, **named: Any) -> Any:
        recogniser = loaded(*arguments, **named)
        fractions = {str(choice.branch): choice.macs_fraction for choice in recogniser.table.frontier}
        return replace(recogniser, engine=Instant(recogniser.engine), times=dict.fromkeys(SIZES, fractions))

    daemon.load_recogniser = instant
    log = structlog.get_logger()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    profiler = cProfile.Profile(time.thread_time)
    if profile is not None:
        profiler.enable()
    daemon.run(lambda: Configuration.read(configuration), log)
    if profile is not None:
        profiler.disable()
        profiler.dump_stats(profile)


def measure(cameras: int, fps: float, seconds: float, profile: Path | None) -> tuple[float, float, list[float]]:
    """Return the main thread's microseconds per answer, the share of frames answered, and latencies in milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        folder, endpoint = Path(name), f"ipc://{name}/results"
        _pictures(folder / "pictures")
        lines = [f'[publish]\nbind = ["{endpoint}"]']
        lines += [
            f'[[camera]]\nname = "camera{number}"\nsource = "{folder}/pictures"\nloop = true\nfps = {fps}'
            for number in range(cameras)
        ]
        (folder / "daemon.toml").write_text("\n".join(lines) + "\n")
        command = [sys.executable, __file__, "--be-the-daemon", str(folder / "daemon.toml")]
        command += [] if profile is None else ["--profile", str(profile)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon, Subscriber(endpoint) as messages:
            try:
                if messages.receive(_START_WITHIN_SECONDS) is None:
                    raise RuntimeError("the daemon answers nothing")
                _results(messages, _SETTLING_SECONDS)
                begun, before = time.monotonic(), _thread_seconds(daemon.pid)
                results = _results(messages, seconds)
                elapsed, spent = time.monotonic() - begun, _thread_seconds(daemon.pid) - before
            finally:
                daemon.terminate()
    answered = len(results) / (cameras * fps * elapsed)
    return 1e6 * spent / len(results), answered, [result.timing_ms.total for result in results]


def _pictures(folder: Path) -> None:
    """Write small pictures, each unlike the previous one, so that every frame is looked at."""
    import cv2

    folder.mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (_PICTURES, _HEIGHT, _WIDTH, 3), np.uint8)
    for number, picture in enumerate(drawn):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)


def _thread_seconds(process: int) -> float:
    """Return the CPU time of a process's main thread so far, in seconds."""
    fields = Path(f"/proc/{process}/task/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _results(messages: Subscriber, seconds: float) -> list[Result]:
    end = time.monotonic() + seconds
    results = []
    while (left := end - time.monotonic()) > 0:
        message = messages.receive(left)
        if isinstance(message, Result) and not message.repeated:
            results.append(message)
    return results


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=_CAMERAS)
    parser.add_argument("--fps", type=float, default=_FPS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--profile", type=Path, help="where cProfile's figures go; they slow the loop down")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    parser.add_argument("--be-the-daemon", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_the_daemon is not None:
        be_the_daemon(arguments.be_the_daemon, arguments.profile)
        return 0
    cameras, fps = arguments.cameras, arguments.fps
    microseconds, answered, latencies = measure(cameras, fps, arguments.seconds, arguments.profile)
    headings = (
        "cameras",
        "frames a second each",
        "main thread, µs an answer",
        "answered",
        "latency p50, ms",
        "p95, ms",
    )
    row = (
        str(cameras),
        f"{fps:g}",
        f"{microseconds:.0f}",
        f"{answered:.1%}",
        f"{statistics.median(latencies):.1f}",
        f"{statistics.quantiles(latencies, n=20)[-1]:.1f}",
    )
    table = Table("The main loop with an engine that takes no time", headings, [row])
    share = Figure(
        "main thread's share of a core where all are answered", microseconds * cameras * fps / 1e6, _LIMIT_SHARE
    )
    return finish("loop.py", [table, limits([share])], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
