"""Branch timings on this device when nothing else runs, by batch size."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np

from adainf.base import documents
from adainf.branch import Branch
from adainf.control.costs import Times
from adainf.engines import Engine, OutOfMemoryError
from adainf.profile import Profile, Timings
from adainfd.base import state
from adainfd.base.keeping import Keeper
from adainfd.base.logs import Logger
from adainfd.model.selection import sizes_for

__all__ = ["Measuring", "kept_times", "known_times", "missing_times"]

_ROUNDS = 8


def known_times(engine: Engine, profile: Profile, branches: Collection[Branch], log: Logger) -> Times:
    """Return the profile's times, completed by those from an earlier start.

    A batch size that was not timed along all of `branches` is left out.
    """
    shipped, kept = (
        profile.timings_on(engine.device, engine.name, engine.threads),
        kept_times(engine, profile, branches),
    )
    if shipped is not None:
        medians = _medians(shipped)
        return {**kept, **_complete(medians, branches), 1: {**kept.get(1, {}), **medians[1]}}
    if profile.timings:
        others = sorted({timings.device for timings in profile.timings})
        log.warning("timings_of_another_device", measured_on=others, this=engine.device, remedy="measured anew here")
    return kept


def kept_times(engine: Engine, profile: Profile, branches: Collection[Branch]) -> Times:
    """Return the times kept from an earlier start, for each batch size that was timed along all of `branches`."""
    found = documents.kept(_file(engine, profile), Timings.model_validate_json)
    return {} if found is None else _complete(_medians(found), branches)


def missing_times(engine: Engine, times: Times, pictures: int, branches: Collection[Branch]) -> list[int]:
    """Return the batch sizes, of those used for up to `pictures` at a time, that are not timed along all branches."""
    complete = _complete(times, branches)
    return [size for size in sizes_for(engine, pictures) if size not in complete]


def _complete(times: Times, branches: Collection[Branch]) -> Times:
    return {size: known for size, known in times.items() if all(str(branch) in known for branch in branches)}


def _medians(timings: Timings) -> Times:
    return {size: {branch: time.p50_ms for branch, time in times.items()} for size, times in timings.every.items()}


def _file(engine: Engine, profile: Profile) -> Path:
    return state.file(
        "timings",
        "after a rest",
        *chain.from_iterable((network.weights, str(network.parts)) for network in profile.networks),
        engine.device,
        engine.name,
        str(engine.threads),
    )


class Measuring:
    """A measurement of branch times at one batch size, in steps that fit between a camera's frames.

    It runs in 8 rounds, each with every branch once in shuffled order, so that a disturbance affects all branches
    alike.
    """

    def __init__(
        self, engine: Engine, profile: Profile, branches: Collection[Branch], pictures: int = 1, seed: int = 0
    ) -> None:
        from adainf.evaluation.timer import Timer

        self.pictures = pictures
        self._timer = Timer(engine, seed)
        self._engine = engine
        self._profile = profile
        ordered = sorted(branches)
        rounds = np.random.default_rng(seed).permuted(np.tile(np.arange(len(ordered)), (_ROUNDS, 1)), axis=1)
        self._left = [ordered[index] for index in chain.from_iterable(rounds)]
        self._ready: set[Branch] = set()
        self._taken: dict[Branch, list[float]] = {branch: [] for branch in ordered}

    @property
    def done(self) -> bool:
        """Whether every branch has been timed in all rounds."""
        return not self._left

    def step(self) -> None:
        """Time one branch once; a branch that is not ready yet is prepared first, in separate steps.

        Raises OutOfMemoryError as the engine does; the step can be retried.
        """
        branch = self._left[-1]
        try:
            if branch not in self._ready:
                if self._engine.make_ready(branch, self.pictures):
                    self._ready.add(branch)
                return
            self._taken[branch].append(self._timer.seconds(branch, self.pictures))
        except OutOfMemoryError:
            self._ready.clear()  # the engine has released every branch
            raise
        self._left.pop()

    def keep(self, keeper: Keeper) -> Times:
        """Save the measured times for the next start; return the median milliseconds per branch by batch size."""
        from adainf.evaluation.timer import summary

        engine = self._engine
        before = documents.kept(_file(engine, self._profile), Timings.model_validate_json)
        by_size = {} if before is None else dict(before.every)
        by_size[self.pictures] = {str(branch): summary(times) for branch, times in self._taken.items()}
        measured = Timings(
            device=engine.device,
            engine=engine.name,
            threads=engine.threads,
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
            times=by_size.pop(1, {}),
            together=by_size,
        )
        text = json.dumps(measured.model_dump(mode="json"), indent=1) + "\n"
        keeper.keep("timings", _file(engine, self._profile), text)
        return {self.pictures: _medians(measured)[self.pictures]}
