"""How long branches take on a device, by the number of pictures that run together: forward pass only."""

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
# An engine may hold only so many branches ready at once (onnx: 32); loading one anew is no forward pass.
_READY_TOGETHER = 24


@dataclass(frozen=True, slots=True)
class Along:
    """So many pictures together along a branch."""

    branch: Branch
    pictures: int = 1


class Stopwatch:
    """Counts seconds, without those in which it is stopped."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """now: a clock in seconds."""
        self.now = now
        self._begun = now()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self.now() - self._begun

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside, nothing is counted."""
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
    """The median and the 95th percentile of the time along each branch.

    Each run follows a rest, as a camera's frames do: caches and threads that have gone cold are part of a frame's time
    (EfficientNet-Lite0's full branch takes 6.8 ms in a tight loop and 10.8 ms after a rest of 35 ms).
    Rounds follow, in each of which every branch runs once in shuffled order, so that a disturbance of the machine falls
    on all alike. The first of `wanted` matter most: of the others only as many take part as leave time for three
    rounds. What it takes to make a branch ready is no time of its own, and counts towards no limit.

    more_rounds_for: seconds after which three rounds are enough; all where it is left out. watch: counts the seconds
    that measuring takes.
    """
    watch = watch or Stopwatch()
    begun = watch.seconds
    deadline = begun + seconds_at_most
    more_rounds_until = deadline if more_rounds_for is None else min(deadline, begun + more_rounds_for)
    generator = np.random.default_rng(seed)
    timer = Timer(engine, seed, watch.now)

    def seconds(along: Along) -> float:
        time.sleep(_REST_SECONDS)
        return timer.seconds(along.branch, along.pictures)

    taking_part: list[Along] = []
    a_round = 0.0
    for along in wanted:
        with watch.stopped():
            engine.warm_up([along.branch], along.pictures)
        longer_round = a_round + seconds(along) + _REST_SECONDS
        if taking_part and watch.seconds + _FEWEST_ROUNDS * longer_round > deadline:
            break
        taking_part.append(along)
        a_round = longer_round
    taken: dict[Along, list[float]] = {along: [] for along in taking_part}
    for number in range(_MOST_ROUNDS):
        if number >= _FEWEST_ROUNDS and watch.seconds + a_round > more_rounds_until:
            break
        for index in generator.permutation(len(taking_part)):
            taken[taking_part[index]].append(seconds(taking_part[index]))
    return {along: summary(times) for along, times in taken.items()}


def most_wanted(profile: Profile, sizes: Iterable[int]) -> list[Along]:
    """What is to be timed, what matters most first.

    One picture along the branches that a lookup table may choose; then the branches that a daemon keeps ready, with
    each of the other numbers of pictures that run together; then one picture along the profile's other branches.
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
    """The profile with what was measured on `engine`'s device, and that by itself.

    What is most wanted is timed first; the rest as the time allows. watch: counts the seconds that measuring takes.
    """
    wanted = most_wanted(profile, engine.sizes)
    watch = watch or Stopwatch()
    found: dict[Along, BranchTime] = {}
    with progress("timing, branches", len(wanted)) as advance:
        for first in range(0, len(wanted), _READY_TOGETHER):
            left = seconds_at_most - watch.seconds
            if found and left <= 0:
                break
            part = left * _READY_TOGETHER / (len(wanted) - first)
            measured = measure(engine, wanted[first : first + _READY_TOGETHER], left, more_rounds_for=part, watch=watch)
            found |= measured
            advance(len(measured))
    together: dict[int, dict[str, BranchTime]] = {}
    for along, time_taken in found.items():
        together.setdefault(along.pictures, {})[str(along.branch)] = time_taken
    timings = Timings(
        device=engine.device,
        engine=engine.name,
        threads=engine.threads,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        times=together.pop(1),
        together=together,
    )
    return profile.with_timings(timings), found
