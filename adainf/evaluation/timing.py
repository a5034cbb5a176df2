"""How long branches take on a device: a frame at a time, forward pass only."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import numpy as np

from adainf.branch import Branch
from adainf.engines import Engine
from adainf.evaluation.progress import progress
from adainf.evaluation.timer import Timer, summary
from adainf.profile import BranchTime, Profile, Timings
from adainf.schedulers import LookupTable

__all__ = ["add_timings", "measure", "most_wanted"]

_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 30
_REST_SECONDS = 0.03
# An engine may hold only so many branches ready at once (onnx: 32); loading one anew is no forward pass.
_READY_TOGETHER = 24


def measure(
    engine: Engine,
    branches: Iterable[Branch],
    seconds_at_most: float,
    now: Callable[[], float] = time.monotonic,
    seed: int = 0,
) -> dict[Branch, BranchTime]:
    """The median and the 95th percentile of one frame's time along each branch.

    Each run follows a rest, as a camera's frames do: caches and threads that have gone cold are part of a frame's time
    (EfficientNet-Lite0's full branch takes 6.8 ms in a tight loop and 10.8 ms after a rest of 35 ms).
    After a warm-up come rounds, in each of which every branch runs once in shuffled order, so that a disturbance of
    the machine falls on all alike. The first of `branches` matter most: of the others only as many take part as
    leave time for three rounds.

    now: a clock in seconds.
    """
    deadline = now() + seconds_at_most
    generator = np.random.default_rng(seed)
    timer = Timer(engine, seed, now)

    def seconds(branch: Branch) -> float:
        time.sleep(_REST_SECONDS)
        return timer.seconds(branch)

    taking_part: list[Branch] = []
    a_round = 0.0
    for branch in branches:
        seconds(branch)
        longer_round = a_round + seconds(branch) + _REST_SECONDS
        if taking_part and now() + _FEWEST_ROUNDS * longer_round > deadline:
            break
        taking_part.append(branch)
        a_round = longer_round
    taken: dict[Branch, list[float]] = {branch: [] for branch in taking_part}
    for number in range(_MOST_ROUNDS):
        if number >= _FEWEST_ROUNDS and now() + a_round > deadline:
            break
        for index in generator.permutation(len(taking_part)):
            taken[taking_part[index]].append(seconds(taking_part[index]))
    return {branch: summary(times) for branch, times in taken.items()}


def most_wanted(profile: Profile) -> list[Branch]:
    """The profile's branches: the full one, those that a lookup table may choose, then the others."""
    frontier = [choice.branch for choice in LookupTable(profile).frontier]
    others = [Branch.parse(measured.branch) for measured in profile.branches]
    return list(dict.fromkeys([profile.space.full, *frontier, *others]))


def add_timings(profile: Profile, engine: Engine, seconds_at_most: float) -> tuple[Profile, dict[Branch, BranchTime]]:
    """The profile with what was measured on `engine`'s device, and that by itself.

    The most wanted branches are timed first; the others as the time allows.
    """
    deadline = time.monotonic() + seconds_at_most
    wanted = most_wanted(profile)
    times: dict[Branch, BranchTime] = {}
    with progress("timing, branches", len(wanted)) as advance:
        for first in range(0, len(wanted), _READY_TOGETHER):
            left = deadline - time.monotonic()
            if times and left <= 0:
                break
            measured = measure(engine, wanted[first : first + _READY_TOGETHER], left)
            times |= measured
            advance(len(measured))
    timings = Timings(
        device=engine.device,
        engine=engine.name,
        threads=engine.threads,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        times={str(branch): taken for branch, taken in times.items()},
    )
    return profile.with_timings(timings), times
