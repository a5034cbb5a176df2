"""The library beside the daemon: milliseconds a frame, on the same clip, each frame along the full branch.

    python benchmarks/library.py --clip FILE [--seconds 8] [--rounds 3]

In turns, so that a disturbance falls on both alike. The daemon's time is that from taking a frame to its message; the
library's that of a call, the first one left out.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from adainfd.client import Result, Subscriber
from tables import Figure, Table, finish, limits

import adainf

_MOST = 1.1
_POLICY = "[budget]\nminimum = 0.2\nmaximum = 1.0\n"


def of_daemon(clip: Path, folder: Path, seconds: float) -> float:
    """Median milliseconds a frame."""
    policy, endpoint, configuration = folder / "policy.toml", f"ipc://{folder}/results", folder / "daemon.toml"
    policy.write_text(_POLICY)
    camera = f'[[camera]]\nname = "clip"\nsource = "{clip}"\nloop = true\nfps = 12.5\n'
    configuration.write_text(f'[model]\npolicy = "{policy}"\n[publish]\nbind = ["{endpoint}"]\n{camera}')
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(configuration)]
    taken: list[float] = []
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon, Subscriber(endpoint) as messages:
        try:
            end = time.monotonic() + 120
            while time.monotonic() < end:
                message = messages.receive(1.0)
                if isinstance(message, Result) and not message.repeated:
                    if not taken:
                        end = time.monotonic() + seconds
                    taken.append(message.timing_ms.total - message.timing_ms.wait)
        finally:
            daemon.terminate()
    return statistics.median(taken[1:])


def of_library(clip: Path, seconds: float) -> float:
    """Median milliseconds a call, at the pace of the daemon's camera."""
    taken = []
    budget = adainf.Policy.model_validate({"budget": {"minimum": 0.2, "maximum": 1.0}})
    with adainf.load("efficientnet-lite", policy=budget) as model:
        video, end = cv2.VideoCapture(str(clip)), time.monotonic() + seconds
        for number in itertools.count():
            more, frame = video.read()
            if not more:
                video.set(cv2.CAP_PROP_POS_FRAMES, 0)
                continue
            began = time.monotonic()
            if began > end:
                break
            answer = model(frame)
            if number:
                taken.append(answer.timing.total)
            time.sleep(max(0.0, 0.08 - (time.monotonic() - began)))
    return statistics.median(taken)


def main() -> int:
    """Compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            daemon = of_daemon(arguments.clip.resolve(), Path(folder), arguments.seconds)
        rows.append((daemon, of_library(arguments.clip, arguments.seconds)))
        print(f"round {number + 1}: daemon {rows[-1][0]:.2f} ms, library {rows[-1][1]:.2f} ms", flush=True)
    daemon, library = (statistics.median(column) for column in zip(*rows, strict=True))
    table = Table("Milliseconds a frame", ("", "median"), [("daemon", f"{daemon:.2f}"), ("library", f"{library:.2f}")])
    return finish("library.py", [table, limits([Figure("library to daemon", library / daemon, _MOST)])], None)


if __name__ == "__main__":
    sys.exit(main())
