"""A step of gpu.py: how long a start takes to the first result, and how late frames come while the rest is made ready.

With the exports that an earlier start leaves (gpu_checks.py has made them), and without any.
"""

import sys

from gpu_daemon import Cameras, quantile, running
from gpu_findings import Findings, Step, arguments
from tables import Figure

_CHANGE_OVER_SECONDS, _AFTER_SECONDS = 20.0, 5.0
_HEADINGS = ("start", "first result, s", "results", "latency p50, ms", "p95, ms", "most, ms", "dropped")


def start(step: Step, name: str, limit: float, found: Findings) -> None:
    """Measure one start.

    limit: the most seconds to the first result.
    """
    with running(
        step, f"start-{name.replace(' ', '-')}", Cameras(1, 12.5), step.work / name.replace(" ", "-")
    ) as daemon:
        daemon.listen(step.start_seconds, lambda daemon: daemon.first is not None)
        if step.device == "cuda":
            daemon.listen(_CHANGE_OVER_SECONDS, lambda daemon: any(name.startswith("torch") for name in daemon.engines))
        daemon.listen(2.0 if step.quick else _AFTER_SECONDS)
        if daemon.first is None:
            found.note(f"{name}: no result within {step.start_seconds:.0f} s\n{daemon.failure()}")
        latencies = [result.timing_ms.total for _, result in daemon.results]
        account = next(iter((daemon.beats[-1][1].cameras or {}).values()), None) if daemon.beats else None
        dropped = "–" if account is None else str(account.captured - account.published - account.reused)
        quantiles = (f"{quantile(latencies, share):.1f}" for share in (0.5, 0.95, 1.0))
        first = float("inf") if daemon.first is None else daemon.first
        found.row("Starts, one camera", _HEADINGS, name, f"{first:.1f}", str(len(latencies)), *quantiles, dropped)
        found.figure(Figure(f"first result, {name}, s", first, limit))
        latest = max(latencies, default=float("inf"))
        found.figure(Figure(f"the latest frame, {name}, ms", latest, 200, form="{:.0f}"))
        for engine, seconds in daemon.engines.items():
            found.note(f"{name}, after {seconds:.1f} s: {engine}")


def main() -> int:
    """Run the step; return the exit status."""
    step, found, _ = arguments(__doc__)
    start(step, "with exports", 3, found)
    start(step, "without exports", 12, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
