"""The way around the model: from a file to messages, against the plain loop that a user would write.

    python benchmarks/pipeline.py [VIDEO] [--seconds 8] [--rounds 3] [--write]

`plain_loop.py` reads the video as fast as it can. The daemon is shown as many frames a second as that answers, with the
full budget, and with half of it twice as many as it answered then, by a policy without rules. They take turns. Beside
that: what preparing a 1080p picture costs, and what a frame costs that is not looked at.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from adainfd.client import Result, Subscriber
from adainfd.terminal.demo import demo_clip
from exports import make_exports
from tables import Figure, Table, finish, limits

from adainf.preprocessing import Preprocessing, prepare

_PAGE = "performance.md"
_START_WITHIN_SECONDS = 120.0
_HALF = 0.5


def export(path: Path) -> None:
    """Export the full demonstration network to ONNX as a user would."""
    from adainf.backbones import Options, load
    from adainf.backbones.defaults import default_weights
    from adainf.engines.exports import export as exported

    name = "timm/tf_efficientnet_lite0"
    backbone = load(name, Options(default_weights(name)))
    path.write_bytes(exported(backbone, backbone.full))


def plain(model: Path, video: Path, seconds: float) -> float:
    """Return the plain loop's frames per second."""
    loop = Path(__file__).with_name("plain_loop.py")
    command = [sys.executable, str(loop), str(model), str(video), f"ipc://{model.parent}/plain", str(seconds)]
    output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(output["fps"])


def ours(folder: Path, video: Path, seconds: float, budget: float, fps: float) -> list[Result]:
    """Return the daemon's results within `seconds`, with the video played at `fps` frames per second."""
    policy, file = folder / f"{budget}.toml", folder / f"daemon-{budget}.toml"
    policy.write_text(f"[budget]\nmaximum = {budget}\nminimum = {budget}\nhold_seconds = 0\nrise_per_second = 100\n")
    endpoint = f"ipc://{folder}/ours"
    file.write_text(
        f'[model]\npolicy = "{policy}"\n[publish]\nbind = ["{endpoint}"]\n'
        f'[[camera]]\nname = "clip"\nsource = "{video}"\nloop = true\nfps = {fps:.1f}\n'
    )
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(file), "--seconds", str(seconds)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon, Subscriber(endpoint) as messages:
        results = []
        message = messages.receive(_START_WITHIN_SECONDS)
        while message is not None:
            if isinstance(message, Result):
                results.append(message)
            message = messages.receive(0.2 if daemon.poll() is not None else 2.0)
    return results


def rate(results: list[Result]) -> float:
    """Return the results per second, without the first second."""
    late = [result.published_at for result in results if result.published_at > results[0].published_at + 1]
    return (len(late) - 1) / (late[-1] - late[0])


def forward(results: list[Result]) -> float:
    """Return the median milliseconds of a forward pass."""
    return statistics.median(result.timing_ms.forward for result in results)


def around(results: list[Result]) -> float:
    """Return the median milliseconds from grabbing a frame to its message, less preprocessing and forward pass."""
    times = [result.timing_ms for result in results]
    return statistics.median(t.total - t.wait - t.preprocess - t.forward for t in times)


def preparing_ms() -> float:
    """Return the median milliseconds of preparing a 1080p picture for 224 pixels."""
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    preprocessing = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.875)
    return _milliseconds(lambda: prepare(picture, 224, preprocessing), 100)


def passed_over(folder: Path) -> float:
    """Return the cost of merely grabbing a 1080p frame, as a share of grabbing it and checking it for motion."""
    from adainf.sensors.motion import sketch

    video = folder / "1080p.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1920, 1080))
    noise = np.random.default_rng(0).integers(0, 256, (68, 120, 3), np.uint8)
    still = np.asarray(cv2.resize(noise, (1920, 1080), interpolation=cv2.INTER_CUBIC), np.uint8)
    for number in range(60):
        writer.write(np.roll(still, 8 * number, axis=1))
    writer.release()
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

    def grab() -> None:
        if not capture.grab():
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            capture.grab()

    def look() -> None:
        grab()
        sketch(np.asarray(capture.retrieve()[1], np.uint8))

    return _milliseconds(grab, 120) / _milliseconds(look, 120)


def _milliseconds(call: Callable[[], object], times: int) -> float:
    times_ms = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        times_ms.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times_ms)


def _spread(rates: list[float]) -> tuple[str, str]:
    return f"{statistics.median(rates):.1f}", f"{min(rates):.1f}–{max(rates):.1f}"


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    make_exports()
    video = arguments.video or demo_clip()
    loops, full, half = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(folder / "whole.onnx")
        for _ in range(arguments.rounds):
            loops.append(plain(folder / "whole.onnx", video, arguments.seconds))
            full.append(ours(folder, video, arguments.seconds, 1.0, loops[-1]))
            half.append(ours(folder, video, arguments.seconds, _HALF, 2 * rate(full[-1])))
        grabbed = passed_over(folder)
    rows = [("plain loop", *_spread(loops), "")]
    for name, runs in (("daemon, full branch", full), ("daemon, half the MACs", half)):
        passes = statistics.median(forward(results) for results in runs)
        rows.append((name, *_spread([rate(results) for results in runs]), f"{passes:.2f}"))
    slower = statistics.median(loop / rate(results) for loop, results in zip(loops, full, strict=True))
    gained = statistics.median(rate(cheap) / rate(results) for results, cheap in zip(full, half, strict=True))
    spent = statistics.median(around(results) for results in full)
    figures = [
        Figure("a frame's time, full branch, to the plain loop's", slower, 1.05),
        Figure("frames a second at half the budget, to those at the full one", gained, 1.8, at_least=True),
        Figure("around the model, ms", spent, 2.0),
        Figure("preparing a 1080p picture, ms", preparing_ms(), 1.5),
        Figure("a 1080p frame that is grabbed alone, to one that is looked at", grabbed, 0.6),
    ]
    table = Table("Frames a second from file to message", ("", "median", "range", "forward pass, ms"), rows)
    return finish("pipeline.py", [table, limits(figures)], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
