"""Forward pass times of branches on a device, by the number of pictures that run together."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from adainf.branch import Branch
from adainf.engines import Engine
from adainf.evaluation.progress import progress
from adainf.evaluation.timer import Timer, summary
from adainf.profile import BranchTime, Profile, Timings
from adainf.schedulers import LookupTable, wanted_branches

__all__ = ["Along", "Stopwatch", "add_timings", "measure", "most_wanted"]

_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 30
_REST_SECONDS = 0.03
# Engines hold a limited number of branches ready (onnx: 32); more would time the loading, not the forward pass.
_READY_TOGETHER = 24


@dataclass(frozen=True, slots=True)
class Along:
    """A branch, and the number of pictures that run along it together."""

    branch: Branch
    pictures: int = 1


class Stopwatch:
    """A stopwatch that can be paused."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Start the stopwatch; the clock `now` returns seconds."""
        self.now = now
        self._begun = now()

    @property
    def seconds(self) -> float:
        """Seconds since creation, without pauses."""
        return self.now() - self._begun

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Pause the stopwatch within the context."""
        before = self.now()
        yield
        self._begun += self.now() - before


def measure(
    engine: Engine,
    wanted: Iterable[Along],
    seconds_at_most: float,
    *,
    more_rounds_for: float | None = None,
    watch: Stopwatch | None = None,
    seed: int = 0,
) -> dict[Along, BranchTime]:
    """Return the median and the 95th percentile of the time along each branch.

    Each run follows a rest, as with a camera's frames: cold caches and threads are part of a frame's time
    (EfficientNet-Lite0's full branch takes 6.8 ms in a tight loop and 10.8 ms after a rest of 35 ms).
    In each round every branch runs once, in shuffled order, so that a disturbance of the machine affects all alike.
    `wanted` is in order of importance: the trailing branches are left out if three rounds would exceed the time.
    Warming up a branch is not part of its time, and counts towards no limit.

    more_rounds_for: seconds after which three rounds are enough; None means `seconds_at_most`. watch: counts the
    seconds spent measuring.
    """
    watch = watch or Stopwatch()
    start = watch.seconds
    deadline = start + seconds_at_most
    more_rounds_until = deadline if more_rounds_for is None else min(deadline, start + more_rounds_for)
    generator = np.random.default_rng(seed)
    timer = Timer(engine, seed, watch.now)

    def seconds(along: Along) -> float:
        time.sleep(_REST_SECONDS)
        return timer.seconds(along.branch, along.pictures)

    taking_part: list[Along] = []
    round_seconds = 0.0
    for along in wanted:
        with watch.stopped():
            engine.warm_up([along.branch], along.pictures)
        longer_round_seconds = round_seconds + seconds(along) + _REST_SECONDS
        if taking_part and watch.seconds + _FEWEST_ROUNDS * longer_round_seconds > deadline:
            break
        taking_part.append(along)
        round_seconds = longer_round_seconds
    samples: dict[Along, list[float]] = {along: [] for along in taking_part}
    for number in range(_MOST_ROUNDS):
        if number >= _FEWEST_ROUNDS and watch.seconds + round_seconds > more_rounds_until:
            break
        for index in generator.permutation(len(taking_part)):
            samples[taking_part[index]].append(seconds(taking_part[index]))
    return {along: summary(times) for along, times in samples.items()}


def most_wanted(profile: Profile, sizes: Iterable[int]) -> list[Along]:
    """Return what to time, the most important first.

    One picture along the branches that a lookup table may choose; then each larger batch size along the branches that a
    daemon keeps ready; then one picture along the profile's other branches.
    """
    ready = wanted_branches(profile)
    frontier = [choice.branch for choice in LookupTable(profile).frontier]
    single = dict.fromkeys([*ready, *frontier])
    others = dict.fromkeys(Branch.parse(measured.branch) for measured in profile.branches)
    return [
        *(Along(branch) for branch in single),
        *(Along(branch, size) for size in sizes if size > 1 for branch in ready),
        *(Along(branch) for branch in others if branch not in single),
    ]


def add_timings(
    profile: Profile, engine: Engine, seconds_at_most: float, watch: Stopwatch | None = None
) -> tuple[Profile, dict[Along, BranchTime]]:
    """Time branches on the engine's device; return the profile with the times added, and the times by themselves.

    The most important branches are timed first, the rest as time allows. watch: counts the seconds spent measuring.
    """
    wanted = most_wanted(profile, engine.sizes)
    watch = watch or Stopwatch()
    times: dict[Along, BranchTime] = {}
    with progress("timing, branches", len(wanted)) as advance:
        for first in range(0, len(wanted), _READY_TOGETHER):
            seconds_left = seconds_at_most - watch.seconds
            if times and seconds_left <= 0:
                break
            part_seconds = seconds_left * _READY_TOGETHER / (len(wanted) - first)
            measured = measure(
                engine, wanted[first : first + _READY_TOGETHER], seconds_left, more_rounds_for=part_seconds, watch=watch
            )
            times |= measured
            advance(len(measured))
    together: dict[int, dict[str, BranchTime]] = {}
    for along, time_taken in times.items():
        together.setdefault(along.pictures, {})[str(along.branch)] = time_taken
    timings = Timings(
        device=engine.device,
        engine=engine.name,
        threads=engine.threads,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        times=together.pop(1),
        together=together,
    )
    return profile.with_timings(timings), times
