"""A daemon for the steps of gpu.py: started, read second by second, and ended."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adainfd.client import Result, Status, Subscriber
from gpu_findings import Step

__all__ = ["EVERY_FRAME", "Cameras", "Stretch", "Watched", "environment", "quantile", "running"]

EVERY_FRAME = "[budget]\nminimum = 0.2\nmaximum = 1.0\n"
"""A policy without rules: every frame is looked at, along the dearest branch that there is time for."""

_TOLD_OF_A_FAILURE = 1500


@dataclass(frozen=True, slots=True)
class Cameras:
    """So many cameras that play a clip. policy: its text, None for the one that is shipped as the default."""

    count: int
    fps: float
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a reader saw within a stretch of time.

    captured, dropped: frames, by the daemon's accounts from its first to its last heartbeat there, so many seconds
    apart; 0 where no two came.
    """

    results: list[Result]
    seconds: float = 0.0
    captured: int = 0
    dropped: int = 0

    @property
    def looks(self) -> list[Result]:
        """The results for which a branch ran."""
        return [result for result in self.results if result.plan.chosen_by != "reuse"]

    @property
    def at_full(self) -> float:
        """The share of the looks that took the full branch."""
        return sum(result.plan.macs_fraction >= 1 for result in self.looks) / max(1, len(self.looks))

    @property
    def answered_share(self) -> float:
        """Of the frames captured; 0 where that is not known."""
        return 1 - self.dropped / self.captured if self.captured else 0.0

    def latency(self, share: float) -> float:
        """Milliseconds from capture to message within which this share of the results came."""
        return quantile([result.timing_ms.total for result in self.results], share)


@dataclass
class Watched:
    """A running daemon and what it has said. begun: when it was started, monotonic seconds."""

    process: subprocess.Popen[bytes]
    messages: Subscriber
    begun: float
    log: Path
    results: list[tuple[float, Result]] = field(default_factory=list)
    beats: list[tuple[float, Status]] = field(default_factory=list)
    engines: dict[str, float] = field(default_factory=dict)

    def listen(self, seconds: float, until: Callable[["Watched"], bool] = lambda _: False) -> None:
        """Take in messages for so long, or until something is so, looked at twice a second."""
        end, look = time.monotonic() + seconds, time.monotonic() + 0.5
        while (now := time.monotonic()) < end and self.process.poll() is None:
            message = self.messages.receive(min(0.1, end - now))
            now = time.monotonic()
            if isinstance(message, Result) and not message.repeated:
                self.results.append((now, message))
            elif isinstance(message, Status) and not message.repeated:
                self._heard(now, message)
            if now >= look:
                look = now + 0.5
                if until(self):
                    break

    def _heard(self, now: float, status: Status) -> None:
        if status.cameras is not None:
            self.beats.append((now, status))
        if status.model is not None:
            engine = f"{status.model.engine} on {status.model.device}"
            self.engines.setdefault(engine, now - self.begun)

    @property
    def first(self) -> float | None:
        """Seconds from the start to the first result."""
        return self.results[0][0] - self.begun if self.results else None

    def stretch(self, since: float, until: float) -> Stretch:
        """What came between these monotonic seconds."""
        results = [result for at, result in self.results if since <= at < until]
        beats = [(at, status) for at, status in self.beats if since <= at < until]
        if len(beats) < 2:
            return Stretch(results)
        (first, before), (last, after) = beats[0], beats[-1]
        captured, dropped = (b - a for a, b in zip(_sums(before), _sums(after), strict=True))
        return Stretch(results, last - first, captured, dropped)

    def latest(self, seconds: float) -> Stretch:
        """What came in the last seconds."""
        now = time.monotonic()
        return self.stretch(now - seconds, now)

    def failure(self) -> str:
        """The end of what it said on stderr."""
        return self.log.read_text(errors="replace")[-_TOLD_OF_A_FAILURE:].strip()


def _sums(status: Status) -> tuple[int, int]:
    """Frames captured, and those of them that were dropped, of all cameras until then."""
    accounts = (status.cameras or {}).values()
    kept = sum(account.published + account.reused + account.waiting for account in accounts)
    captured = sum(account.captured for account in accounts)
    return captured, captured - kept


def environment(home: Path) -> dict[str, str]:
    """With caches and what daemons learn in a folder of ours."""
    given = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state")}
    for name in ("CACHE_DIRECTORY", "STATE_DIRECTORY"):
        given.pop(name, None)
    return given


@contextmanager
def running(step: Step, name: str, cameras: Cameras, home: Path) -> Iterator[Watched]:
    """A daemon with these cameras. name: of its files. home: where its caches are."""
    folder = step.work / name
    folder.mkdir(parents=True, exist_ok=True)
    endpoint, file, log = f"ipc://{folder}/results", folder / "daemon.toml", folder / "stderr"
    lines = ["[model]"]
    if step.device == "cpu":
        lines.append('device = "cpu"')
    if cameras.policy is not None:
        (folder / "policy.toml").write_text(cameras.policy)
        lines.append(f'policy = "{folder}/policy.toml"')
    lines += [f'[publish]\nbind = ["{endpoint}"]']
    lines += [
        f'[[camera]]\nname = "camera{number}"\nsource = "{step.clip}"\nloop = true\nfps = {cameras.fps}'
        for number in range(cameras.count)
    ]
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(file)]
    begun = time.monotonic()
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stderr=said, stdout=said, env=environment(home)) as process,
        Subscriber(endpoint, topics=("result/", "status/")) as messages,
    ):
        try:
            yield Watched(process, messages, begun, log)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def median(values: Sequence[float]) -> float:
    """NaN of none."""
    return statistics.median(values) if values else float("nan")
