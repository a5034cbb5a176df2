"""What the way around the model costs: frame grabbed to message sent, less preprocessing and forward pass.

    python benchmarks/pipeline.py [VIDEO] [--seconds 20]

Runs the real daemon on a real video and reads its messages. Exits 1 where the limit is missed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from adainfd.client import Result, Subscriber
from adainfd.demo import demo_clip

LIMIT_MS = 2.0
START_WITHIN_SECONDS = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    results = watch(arguments.video or demo_clip(), arguments.seconds)
    parts = {
        "wait": [result.timing_ms.wait for result in results],
        "preprocess": [result.timing_ms.preprocess for result in results],
        "forward": [result.timing_ms.forward for result in results],
        "total": [result.timing_ms.total for result in results],
    }
    around = [result.timing_ms.total - result.timing_ms.preprocess - result.timing_ms.forward for result in results]
    print(f"{len(results)} frames of {arguments.video or 'the demonstration clip'}; milliseconds")
    print(f"{'':<28}{'p50':>8}{'p95':>8}")
    for name, values in {**parts, "total - preprocess - forward": around}.items():
        print(f"{name:<28}{statistics.median(values):8.2f}{statistics.quantiles(values, n=20)[-1]:8.2f}")
    good = statistics.median(around) <= LIMIT_MS
    print(f"limit: p50 of the last line ≤ {LIMIT_MS} ms: {'met' if good else 'MISSED'}")
    return 0 if good else 1


def watch(video: Path, seconds: float) -> list[Result]:
    """The results of a daemon that plays `video` for so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/results"
        command = [sys.executable, "-m", "adainfd", "run", "--source", str(video), "--loop", "--bind", endpoint]
        with subprocess.Popen([*command, "--seconds", str(seconds)]) as daemon, Subscriber(endpoint) as messages:
            results = []
            message = messages.receive(START_WITHIN_SECONDS)
            while message is not None:
                if isinstance(message, Result):
                    results.append(message)
                message = messages.receive(0.2 if daemon.poll() is not None else 2.0)
    return results


if __name__ == "__main__":
    sys.exit(main())
