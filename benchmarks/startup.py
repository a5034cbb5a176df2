"""How long the daemon takes to its first result, and how much memory it holds.

    python benchmarks/startup.py [VIDEO] [--write]

Starts `adainfd run` on a real video with an empty cache, then twice with what the first start left there. Memory is
that of all the daemon's processes together, pages that they share counted once (`Pss`), when no export is being made
any more.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adainfd.client import Result, Subscriber
from adainfd.terminal.demo import demo_clip
from tables import Figure, Table, finish, limits

_PAGE = "performance.md"
_WITHIN_SECONDS = 180.0
_SETTLED_AFTER_SECONDS = 3.0
_LOOK_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    seconds: to the first result. with_torch: whether any process has PyTorch loaded then. prepared: seconds until no
    process has PyTorch loaded. megabytes: memory of all processes, some seconds later.
    """

    name: str
    seconds: float
    with_torch: bool
    prepared: float
    megabytes: float


@contextmanager
def daemon(video: Path, endpoint: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon that plays the video in a loop."""
    command = [sys.executable, "-m", "adainfd", "run", "--source", str(video), "--loop", "--bind", endpoint]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def processes(ancestor: int) -> list[int]:
    """Return the IDs of a process and all its descendants."""
    found = [ancestor]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:  # the process has ended
            continue
        if parent == ancestor:
            found += processes(int(folder.name))
    return found


def start(name: str, video: Path, folder: Path, environment: Mapping[str, str]) -> Start:
    """Start the daemon once and measure it."""
    endpoint = f"ipc://{folder}/results"
    begun = time.monotonic()
    with daemon(video, endpoint, environment) as process, Subscriber(endpoint) as messages:
        while not isinstance(messages.receive(_WITHIN_SECONDS), Result):
            pass
        seconds = time.monotonic() - begun
        with_torch = torch_is_loaded(process.pid)
        while torch_is_loaded(process.pid) and time.monotonic() - begun < _WITHIN_SECONDS:
            time.sleep(_LOOK_EVERY_SECONDS)
        prepared = time.monotonic() - begun
        time.sleep(_SETTLED_AFTER_SECONDS)
        of_all = [Path(f"/proc/{number}") for number in processes(process.pid)]
        kilobytes = [int(re.findall(r"^Pss:\s+(\d+)", (p / "smaps_rollup").read_text(), re.M)[0]) for p in of_all]
    return Start(name, seconds, with_torch, prepared, sum(kilobytes) / 1024)


def torch_is_loaded(ancestor: int) -> bool:
    """Return whether a process or one of its descendants has PyTorch loaded."""
    return any("libtorch" in maps(number) for number in processes(ancestor))


def maps(process: int) -> str:
    """Return the memory map of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/maps").read_text(errors="replace")
    except OSError:  # the process has ended
        return ""


def help_seconds() -> float:
    """Return the time of the fastest of five runs of `adainfd --help`, in seconds."""
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "adainfd", "--help"], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.monotonic() - begun)
    return min(seconds)


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    video = arguments.video or demo_clip()
    with tempfile.TemporaryDirectory() as folder:
        homes = {f"XDG_{kind}_HOME": f"{folder}/{kind}" for kind in ("CACHE", "STATE")}
        environment = {**os.environ, **homes}
        for given in ("CACHE_DIRECTORY", "STATE_DIRECTORY"):
            environment.pop(given, None)
        names = ("empty cache", "second start", "third start")
        starts = [start(name, video, Path(folder), environment) for name in names]
    rows = [
        (
            s.name,
            f"{s.seconds:.2f}",
            "beside the daemon" if s.with_torch else "no",
            f"{s.prepared:.2f}" if s.with_torch else "at once",
            f"{s.megabytes:.0f}",
        )
        for s in starts
    ]
    headings = ("", "first result, s", "torch loaded then", "all branches exported, s", "memory after that, MB")
    table = Table("Starts of `adainfd run`, one camera", headings, rows)
    figures = [
        Figure("first result with an empty cache, s", starts[0].seconds, 6),
        Figure("first result with a full one, s", min(s.seconds for s in starts[1:]), 1.5),
        Figure("memory with a full one, MB", max(s.megabytes for s in starts[1:]), 350, form="{:.0f}"),
        Figure("processes with torch then", sum(s.with_torch for s in starts[1:]), 0, form="{:.0f}"),
        Figure("`adainfd --help`, s", help_seconds(), 0.3),
    ]
    return finish("startup.py", [table, limits(figures)], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
