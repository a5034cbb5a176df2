"""How long branches take on this device when nothing else runs."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np

from adainf import documents
from adainf.branch import Branch
from adainf.engines import Engine
from adainf.profile import Profile, Timings
from adainfd import state
from adainfd.keeping import Keeper
from adainfd.logs import Logger

__all__ = ["Measuring", "kept_times", "known_times"]

_ROUNDS = 8


def known_times(engine: Engine, profile: Profile, branches: Collection[Branch], log: Logger) -> dict[str, float]:
    """Median milliseconds along branches here, of the profile or kept from an earlier start.

    Nothing where that of one of `branches` is unknown.
    """
    shipped = profile.timings_on(engine.device, engine.name, engine.threads)
    if shipped is not None:
        return _medians(shipped)
    if profile.timings:
        others = sorted({timings.device for timings in profile.timings})
        log.warning("timings_of_another_device", measured_on=others, this=engine.device, remedy="measured anew here")
    return kept_times(engine, profile, branches)


def kept_times(engine: Engine, profile: Profile, branches: Collection[Branch]) -> dict[str, float]:
    """Median milliseconds along branches here, kept from an earlier start; empty where one of `branches` is missing."""
    found = documents.kept(_file(engine, profile), Timings.model_validate_json)
    kept = {} if found is None else _medians(found)
    return kept if all(str(branch) in kept for branch in branches) else {}


def _medians(timings: Timings) -> dict[str, float]:
    return {branch: time.p50_ms for branch, time in timings.times.items()}


def _file(engine: Engine, profile: Profile) -> Path:
    return state.file(
        "timings", "after a rest", profile.weights, str(profile.parts), engine.device, engine.name, str(engine.threads)
    )


class Measuring:
    """Times single frames, one at each call, so that it can go on in the gaps between a camera's frames.

    In rounds, in each of which every branch runs once in shuffled order: a disturbance falls on all alike.
    """

    def __init__(self, engine: Engine, profile: Profile, ready: Collection[Branch], seed: int = 0) -> None:
        from adainf.evaluation.timer import Timer

        self._timer = Timer(engine, seed)
        self._engine = engine
        self._profile = profile
        branches = sorted(ready)
        rounds = np.random.default_rng(seed).permuted(np.tile(np.arange(len(branches)), (_ROUNDS, 1)), axis=1)
        self._left = [branches[index] for index in chain.from_iterable(rounds)]
        self._taken: dict[Branch, list[float]] = {branch: [] for branch in branches}

    @property
    def done(self) -> bool:
        """Whether every branch was timed often enough."""
        return not self._left

    def step(self) -> None:
        """Run one frame along one branch; raises OutOfMemoryError as the engine does, and may be tried again."""
        branch = self._left[-1]
        self._taken[branch].append(self._timer.seconds(branch))
        self._left.pop()

    def keep(self, keeper: Keeper) -> dict[str, float]:
        """Median milliseconds along each branch, which the next start knows too."""
        from adainf.evaluation.timer import summary

        engine = self._engine
        measured = Timings(
            device=engine.device,
            engine=engine.name,
            threads=engine.threads,
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
            times={str(branch): summary(times) for branch, times in self._taken.items()},
        )
        text = json.dumps(measured.model_dump(mode="json"), indent=1) + "\n"
        keeper.keep("timings", _file(engine, self._profile), text)
        return _medians(measured)
