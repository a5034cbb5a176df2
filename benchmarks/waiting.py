"""How the helping threads of ONNX Runtime wait: what each way costs a frame, in time and in processor time.

    python benchmarks/waiting.py [--seconds 15] [--write]

EfficientNet-Lite0's full branch at batch 1, in a tight loop, after 20 ms of rest as between a camera's frames, and so
beside a busy process on each processor. The ways take turns in rounds of random order.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
import onnxruntime
from tables import Table, finish

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.engines.exports import export
from adainf.engines.processor import usable_processors

_PAGE = "performance.md"
_REST_SECONDS = 0.02
_IN_A_ROW = 4
_INTRA = "session.intra_op."
_SLEEPS, _SHORTLY = {_INTRA + "allow_spinning": "0"}, {_INTRA + "spin_duration_us": "100"}
_WITH_THE_RUN = {"session.force_spinning_stop": "1"}
_PLACED = {"session.intra_op_thread_affinities": ";".join(str(p + 1) for p in sorted(os.sched_getaffinity(0))[1:])}
WAYS = {
    "sleeps at once": _SLEEPS,
    "awake for 100 µs": _SHORTLY,
    "sleeps at once, keeps to its processor": _SLEEPS | _PLACED,
    "awake for 100 µs, keeps to its processor": _SHORTLY | _PLACED,
    "so, but asleep when the run ends (ours)": _SHORTLY | _PLACED | _WITH_THE_RUN,
    "awake until long after the run (ONNX Runtime's default)": {},
}


def session(model: bytes, settings: dict[str, str]) -> onnxruntime.InferenceSession:
    """Return a session on all processors with the given settings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_processors()
    options.log_severity_level = 3
    for name, value in settings.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@contextmanager
def busy() -> Iterator[None]:
    """Run one busy process per processor."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(usable_processors())]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(sessions: dict[str, onnxruntime.InferenceSession], rest: float, seconds: float) -> dict[str, str]:
    """Return, for each way, the median milliseconds per frame, and in brackets the CPU milliseconds."""
    picture = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    frames: dict[str, list[float]] = {way: [] for way in sessions}
    spent: dict[str, list[float]] = {way: [] for way in sessions}
    order = random.Random(0)  # noqa: S311
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for way in order.sample(sorted(sessions), len(sessions)):
            sessions[way].run(None, {"images": picture})
            before = time.process_time()
            for _ in range(_IN_A_ROW):
                time.sleep(rest)
                begun = time.perf_counter()
                sessions[way].run(None, {"images": picture})
                frames[way].append(1e3 * (time.perf_counter() - begun))
            spent[way].append(1e3 * (time.process_time() - before) / _IN_A_ROW)
    return {way: f"{statistics.median(frames[way]):.1f} ({statistics.median(spent[way]):.1f})" for way in sessions}


def main() -> int:
    """Run the benchmark, print the table, write it if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each of the three")
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    backbone = backbones.load("timm/tf_efficientnet_lite0", Options(weights=RANDOM))
    model = export(backbone, backbone.full)
    sessions = {way: session(model, settings) for way, settings in WAYS.items()}
    tight = measure(sessions, 0.0, arguments.seconds)
    rested = measure(sessions, _REST_SECONDS, arguments.seconds)
    with busy():
        beside = measure(sessions, _REST_SECONDS, arguments.seconds)
    rows = [(way, tight[way], rested[way], beside[way]) for way in sessions]
    headings = ("a helping thread", "tight loop", "after 20 ms of rest", "the same, beside busy processes")
    table = Table("Milliseconds a frame (processor time)", headings, rows)
    return finish("waiting.py", [table], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
