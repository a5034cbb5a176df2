"""A daemon for the steps of gpu.py: start it, collect its messages, and stop it."""

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
"""A policy without rules: every frame is looked at, along the most expensive branch that time allows."""

_TOLD_OF_A_FAILURE = 1500


@dataclass(frozen=True, slots=True)
class Cameras:
    """Cameras that play a clip.

    policy: TOML text; None means the shipped default.
    """

    count: int
    fps: float
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The results and frame counts within an interval.

    captured, dropped: frames, from the daemon's accounts between the first and the last heartbeat of the interval,
    which are `seconds` apart. All three are 0 with fewer than two heartbeats.
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
        """The share of the looks that ran the full branch."""
        return sum(result.plan.macs_fraction >= 1 for result in self.looks) / max(1, len(self.looks))

    @property
    def answered_share(self) -> float:
        """The share of captured frames that were not dropped; 0 if no count is available."""
        return 1 - self.dropped / self.captured if self.captured else 0.0

    def latency(self, share: float) -> float:
        """Return a quantile of the latency from capture to message, in milliseconds."""
        return quantile([result.timing_ms.total for result in self.results], share)


@dataclass
class Watched:
    """A running daemon and its messages so far.

    begun: its start, in monotonic seconds. engines: seconds from the start until each engine was first reported.
    """

    process: subprocess.Popen[bytes]
    messages: Subscriber
    begun: float
    log: Path
    results: list[tuple[float, Result]] = field(default_factory=list)
    beats: list[tuple[float, Status]] = field(default_factory=list)
    engines: dict[str, float] = field(default_factory=dict)

    def listen(self, seconds: float, until: Callable[["Watched"], bool] = lambda _: False) -> None:
        """Collect messages for `seconds`, or until `until` holds, which is checked twice a second."""
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
        """Seconds from the start to the first result, or None."""
        return self.results[0][0] - self.begun if self.results else None

    def stretch(self, since: float, until: float) -> Stretch:
        """Return the interval between two monotonic times, in seconds."""
        results = [result for at, result in self.results if since <= at < until]
        beats = [(at, status) for at, status in self.beats if since <= at < until]
        if len(beats) < 2:
            return Stretch(results)
        (first, before), (last, after) = beats[0], beats[-1]
        captured, dropped = (b - a for a, b in zip(_sums(before), _sums(after), strict=True))
        return Stretch(results, last - first, captured, dropped)

    def latest(self, seconds: float) -> Stretch:
        """Return the interval of the last `seconds`."""
        now = time.monotonic()
        return self.stretch(now - seconds, now)

    def failure(self) -> str:
        """Return the last 1500 characters of the daemon's output."""
        return self.log.read_text(errors="replace")[-_TOLD_OF_A_FAILURE:].strip()


def _sums(status: Status) -> tuple[int, int]:
    """Return the frames captured and dropped so far, summed over all cameras."""
    accounts = (status.cameras or {}).values()
    kept = sum(account.published + account.reused + account.waiting for account in accounts)
    captured = sum(account.captured for account in accounts)
    return captured, captured - kept


def environment(home: Path) -> dict[str, str]:
    """Return the environment with caches and state below `home`."""
    variables = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state")}
    for name in ("CACHE_DIRECTORY", "STATE_DIRECTORY"):
        variables.pop(name, None)
    return variables


@contextmanager
def running(step: Step, name: str, cameras: Cameras, home: Path) -> Iterator[Watched]:
    """Run a daemon with these cameras.

    name: folder of its files. home: folder of its caches and state.
    """
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
        log.open("wb") as output,
        subprocess.Popen(command, stderr=output, stdout=output, env=environment(home)) as process,
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
    """Return the `share` quantile of the values; NaN if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def median(values: Sequence[float]) -> float:
    """Return the median of the values; NaN if there are none."""
    return statistics.median(values) if values else float("nan")
