"""A step of gpu.py: what 1, 4, 16 and 32 cameras get from the daemon.

Each plays the clip in a loop at so many frames a second. Figures are of the last five seconds; a daemon is watched
until these keep the limits, at most for some seconds, since branches for many pictures are recorded while it runs.
"""

import sys
import time
from dataclasses import dataclass

from cameras import processor_seconds
from gpu_daemon import EVERY_FRAME, Cameras, Stretch, median, running
from gpu_findings import Findings, Step, arguments
from tables import Figure

_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """A number of cameras with limits on their results.

    seconds: the longest time to watch them.
    """

    name: str
    cameras: Cameras
    seconds: float
    p95: float = float("inf")
    full: float = 0.0
    around: float = float("inf")
    all_answered: bool = False

    def figures(self, seen: Stretch) -> list[Figure]:
        """Return the figures, with this case's limits."""
        cameras = self.cameras
        of = f"{cameras.count} × {cameras.fps:g} fps, {self.name}"
        figures = []
        if self.all_answered:
            figures.append(Figure(f"{of}: answered or reused", seen.answered_share, 0.999, True, "{:.1%}"))
        if self.p95 < float("inf"):
            figures.append(Figure(f"{of}: latency p95, ms", seen.latency(0.95), self.p95, form="{:.1f}"))
        if self.full:
            figures.append(Figure(f"{of}: looks at the full branch", seen.at_full, self.full, True, "{:.1%}"))
        if self.around < float("inf"):
            figures.append(Figure(f"{of}: frame to message less the forward pass, ms", around(seen), self.around))
        return figures


CASES = (
    Case("every frame", Cameras(16, 12.5, EVERY_FRAME), 20, p95=60, all_answered=True),
    Case("every frame", Cameras(32, 25, EVERY_FRAME), 25, p95=80, full=0.98, all_answered=True),
    Case("every frame", Cameras(1, 25, EVERY_FRAME), 8, around=1.0),
    Case("default policy", Cameras(16, 12.5), 8, p95=60, all_answered=True),
    Case("every frame", Cameras(4, 25, EVERY_FRAME), 8),
)
QUICK = (Case("every frame", Cameras(2, 12.5, EVERY_FRAME), 7, p95=60, full=0.98, around=1.0, all_answered=True),)
_HEADINGS = (
    *("cameras", "fps", "policy", "first result, s", "settled, s", "captured a second", "answered", "looked at"),
    *("at full", "p50, ms", "p95, ms", "wait", "prepare", "forward", "around", "processors"),
)


def around(seen: Stretch) -> float:
    """Return the median milliseconds from capture to message less the forward pass, over frames with a branch run."""
    return median([look.timing_ms.total - look.timing_ms.forward for look in seen.looks])


def watch(step: Step, number: int, case: Case, found: Findings) -> None:
    """Measure one case: run a daemon until its figures meet the limits, or the time is over."""
    with running(step, f"cameras-{number}", case.cameras, step.work / "home") as daemon:
        daemon.listen(step.start_seconds, lambda daemon: daemon.first is not None)
        if daemon.first is None:
            found.note(f"{case.cameras.count} cameras: no result within {step.start_seconds:.0f} s\n{daemon.failure()}")
            found.figure(Figure(f"{case.cameras.count} × {case.cameras.fps:g} fps: daemons that answer", 0, 1, True))
            return
        begun = time.monotonic()

        def settled(daemon: object) -> bool:
            del daemon
            return time.monotonic() - begun > _WINDOW_SECONDS + 1 and all(f.met for f in case.figures(latest()))

        def latest() -> Stretch:
            return daemon.latest(_WINDOW_SECONDS)

        spent = processor_seconds(daemon.process.pid)
        daemon.listen(case.seconds, settled)
        elapsed = time.monotonic() - begun
        spent = processor_seconds(daemon.process.pid) - spent
        seen = latest()
        _tell(case, daemon.first, elapsed, spent / elapsed, seen, found)
        for engine, seconds in daemon.engines.items():
            found.note(f"{case.cameras.count} cameras, after {seconds:.1f} s: {engine}")
        if daemon.process.poll() is not None:
            found.note(f"{case.cameras.count} cameras: the daemon has ended\n{daemon.failure()}")
        for figure in case.figures(seen):
            found.figure(figure)


def _tell(case: Case, first: float, taken: float, busy: float, seen: Stretch, found: Findings) -> None:
    looks = seen.looks
    stages = [[getattr(look.timing_ms, stage) for look in looks] for stage in ("wait", "preprocess", "forward")]
    found.row(
        "Cameras, the last five seconds",
        _HEADINGS,
        str(case.cameras.count),
        f"{case.cameras.fps:g}",
        case.name,
        f"{first:.1f}",
        f"{taken - _WINDOW_SECONDS:.0f}" if all(f.met for f in case.figures(seen)) else "no",
        f"{seen.captured / seen.seconds:.0f}" if seen.seconds else "–",
        f"{seen.answered_share:.1%}",
        f"{len(looks) / max(1, len(seen.results)):.0%}",
        f"{seen.at_full:.1%}",
        f"{seen.latency(0.5):.1f}",
        f"{seen.latency(0.95):.1f}",
        *(f"{median(stage):.2f}" for stage in stages),
        f"{around(seen):.2f}",
        f"{busy:.1f}",
    )


def main() -> int:
    """Run the step; return the exit status."""
    step, found, _ = arguments(__doc__)
    for number, case in enumerate(QUICK if step.quick else CASES):
        watch(step, number, case, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
