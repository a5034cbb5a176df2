"""A step of gpu.py: another program takes the GPU for some seconds; the budget falls, and comes back."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gpu_daemon import Cameras, quantile, running
from gpu_findings import Findings, Step, arguments
from tables import Figure

_BEFORE_SECONDS, _BUSY_SECONDS, _AFTER_SECONDS = 3.0, 4.0, 4.0
_HEADINGS = ("second", "the other", "results", "budget", "limited by", "others' share of the GPU", "latency p95, ms")
_BUSY = {
    "cuda": """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
a @ a
torch.cuda.synchronize()
print("ready", flush=True)
input()
while True:
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
""",
    "cpu": "print('ready', flush=True); input()\nwhile True: pass",
}


@contextmanager
def other_program(device: str) -> Iterator[subprocess.Popen[str]]:
    """Start another program that keeps the device fully busy once it receives a line on stdin."""
    command = [sys.executable, "-c", _BUSY[device]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def contend(step: Step, found: Findings) -> None:
    """Record the budget second by second, before, during and after contention."""
    with (
        other_program(step.device) as other,
        running(step, "contention", Cameras(1, 25), step.work / "home") as daemon,
    ):
        daemon.listen(step.start_seconds, lambda daemon: daemon.first is not None)
        daemon.listen(1.0)
        begun = time.monotonic()
        daemon.listen(_BEFORE_SECONDS)
        busy_from = time.monotonic()
        print(file=other.stdin, flush=True)
        daemon.listen(_BUSY_SECONDS)
        other.kill()
        busy_until = time.monotonic()
        daemon.listen(_AFTER_SECONDS)
        seconds = int(time.monotonic() - begun)
        for second in range(seconds):
            at = begun + second
            results = daemon.stretch(at, at + 1).results
            if not results:
                found.row("Beside another program", _HEADINGS, str(second), *[""] * 6)
                continue
            budgets = [result.budget.fraction for result in results]
            foreign = results[-1].signals.gpu_foreign
            found.row(
                "Beside another program",
                _HEADINGS,
                str(second),
                "runs" if busy_from <= at + 0.5 < busy_until else "",
                str(len(results)),
                f"{min(budgets):.2f}–{max(budgets):.2f}",
                results[-1].budget.limited_by,
                "–" if foreign is None else f"{foreign:.2f}",
                f"{quantile([result.timing_ms.total for result in results], 0.95):.1f}",
            )
        during = daemon.stretch(busy_from, busy_until).results
        after = daemon.stretch(busy_until + 3, busy_until + 60).results
        lowest = min((result.budget.fraction for result in during), default=1.0)
        found.figure(Figure("the lowest budget beside another program", lowest, 0.5))
        back = min((result.budget.fraction for result in after), default=0.0)
        found.figure(Figure("the budget three seconds after", back, 0.99, at_least=True))


def main() -> int:
    """Run the step; return the exit status."""
    step, found, _ = arguments(__doc__)
    contend(step, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
