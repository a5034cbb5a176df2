"""The daemon's own pipeline on cameras, an engine and a clock that do what a test tells them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adainfd.answering import inference as looking
from adainfd.answering import pipeline
from adainfd.answering.fair_queue import in_turn
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.account import FrameCounts
from adainfd.capture.cameras.captured import Captured
from adainfd.tracing.trace import Recorder
from adainfd.wire.serving.publisher import Publisher
from families import TINY, beside
from hypothesis import strategies as st
from numpy.typing import NDArray
from profiles import SMALL, profiles

from adainf.branch import REFERENCE, Branch, FamilySpace
from adainf.control import Decider, Policy
from adainf.engines import SIZES, OutOfMemoryError
from adainf.profile import Profile, Scheduled
from adainf.recogniser import LabelColumns, Recogniser
from adainf.schedulers import Choice, LookupTable
from adainf.sensors import Readings

FULL_MS = 8.0
SAVING = 0.7  # so much of its own time a picture takes beside others of its branch
SCENES = [np.random.default_rng(0).integers(60, 190, (54, 96)).astype(np.uint8)]
for rows in (1, 3, 20, 54):  # a fly, a cat, a lorry, a cut
    SCENES.append(SCENES[0].copy())
    SCENES[-1][:rows] = np.random.default_rng(rows).integers(60, 190, (rows, 96))


class Clock:
    """Stands where nothing happens; stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.time = time.time

    def monotonic(self) -> float:
        self.now += 1e-5
        return self.now


_OUTLINE = SimpleNamespace(preprocessing=SimpleNamespace(crop_fraction=1.0))


@dataclass
class Engine:
    """Takes as long, and answers as surely, as it is told. memory: for so many runs."""

    clock: Clock
    space: FamilySpace
    sizes: tuple[int, ...] = (1,)
    name: str = "told"
    device: str = "none"
    on_gpu: bool = False
    threads: int = 1
    class_names: tuple[str, ...] = ("cat", "dog", "lorry")
    outlines: Any = field(default_factory=lambda: {REFERENCE: _OUTLINE, "tiny": _OUTLINE, "adapted": _OUTLINE})
    slowdown: float = 1.0
    lead: float = 0.0
    memory: int = 1 << 30

    def prepare(
        self,
        picture: NDArray[np.uint8],
        resolution: int,
        network: str = REFERENCE,
        *,
        mirrored: bool = False,
        squeezed: bool = False,
    ) -> tuple[str, int]:
        return network, resolution

    def _ran(self, fraction: float) -> NDArray[np.float32]:
        self.memory -= 1
        if self.memory < 0:
            raise OutOfMemoryError("device: out of memory")
        self.clock.now += FULL_MS / 1000 * fraction * self.slowdown
        return np.array((self.lead, 0.0, -1.0), np.float32)

    def run(self, inputs: Sequence[tuple[str, int]], branches: Sequence[Branch]) -> NDArray[np.float32]:
        assert list(inputs) == [(branch.network, branch.resolution) for branch in branches]
        alone = {branch for branch in branches if branches.count(branch) == 1}
        return np.stack([self._ran(self.space.fraction(b) * (1.0 if b in alone else SAVING)) for b in branches])

    def features(self, inputs: Sequence[tuple[str, int]], branches: Sequence[Branch]) -> list[NDArray[np.float32]]:
        return list(self.run(inputs, branches))

    def look(self, prepared: tuple[str, int], resolution: int, network: str) -> Any:
        assert prepared == (network, resolution)
        return SimpleNamespace(embedding=np.zeros(1, np.float32), resolution=resolution, network=network)

    def complete(self, seen: Any, keep: Sequence[bool]) -> NDArray[np.float32]:
        return self._ran(self.space.fraction(Branch(seen.resolution, tuple(keep), seen.network)))


@dataclass
class Content:
    """A content-aware scheduler that keeps the last block where that fits the budget."""

    profile: Profile
    scheduler: Any = field(default_factory=lambda: SimpleNamespace(macs=3))
    resolution: int = 8

    @property
    def network(self) -> str:
        return self.profile.adapted or REFERENCE

    def _fitting(self, budget: float) -> Branch | None:
        keeps = ((False, True), (True, False), (False, False))
        branches = [Branch(8, (True, *keep), self.network) for keep in keeps]
        space = self.profile.space
        fits = [b for b in branches if (space.macs(b) + 3) / space.macs(space.full) <= budget]
        return fits[0] if fits else None

    def level(self, budget: float) -> Scheduled | None:
        from adainf.schedulers.content_aware import better_at

        return None if self._fitting(budget) is None else better_at(self.profile.scheduled, budget)

    def choose(self, embedding: object, level: Scheduled, budget: float) -> Choice:
        branch = self._fitting(budget)
        assert branch is not None
        space = self.profile.space
        macs = space.macs(branch) + 3
        return Choice(branch, macs, macs / space.macs(space.full), level.accuracy)


@dataclass(frozen=True, eq=False)
class OwnClasses:
    """Taught classes, whose scores are the features."""

    profile: Profile
    names: tuple[str, ...] = ("open", "shut", "unknown")
    squeezed: bool = False

    def scores(self, branch: Branch, features: NDArray[np.float32]) -> NDArray[np.float32]:
        assert str(branch) in {measured.branch for measured in self.profile.branches}
        return features


class Camera:
    """A camera whose frames come when the test says so."""

    def __init__(self, name: str, max_age: float) -> None:
        self.name = name
        self.settings = SimpleNamespace(max_age=max_age)
        self.account = FrameCounts()
        self.pace = SimpleNamespace(interval=0.04)
        self.newest: Captured | None = None
        self.whole = True
        self._scene = SCENES[0]
        self._number = 0

    def bring(self, at: float, scene: int, motion: float | None, views: int) -> None:
        self._number += 1
        self.account.captured += 1
        self.account.newer_frame += self.newest is not None
        self.newest = Captured(self._number, at, at, (motion,) * views, SCENES[scene])

    def take(self) -> tuple[Captured, NDArray[np.uint8]] | None:
        taken, self.newest = self.newest, None
        return None if taken is None else (taken, np.zeros((8, 8, 3), np.uint8))

    def holds(self, captured: Captured) -> bool:
        return self.whole


class Live:
    """A pipeline with cameras. policies: of each camera, which has as many views as are told beside it."""

    def __init__(
        self,
        profile: Profile,
        policies: Sequence[tuple[Policy, int]],
        recorder: Callable[[Recogniser, list[CameraSession]], Recorder],
        publisher: Publisher,
        patch: pytest.MonkeyPatch,
        *,
        batches: bool,
        scheduled: bool,
        ready: int,
        own: Profile | None = None,
    ) -> None:
        """ready: so many branches are, at first. own: of classes taught to the last view of each camera."""
        self.clock = Clock()
        for module in (pipeline, looking):
            patch.setattr(module, "time", self.clock)
        self._all = [choice.branch for choice in LookupTable(profile).frontier]
        self._of_own: list[Branch] = []
        if own is not None:
            self._of_own = [choice.branch for choice in LookupTable(own).frontier]
            profile = profile.with_branches(own, self._of_own)
        self.engine = Engine(self.clock, profile.space, SIZES if batches else (1,))
        self.profile = profile
        self._content: Any = Content(profile) if scheduled else None
        self.recogniser = self._along(ready)
        self.readings = Readings()
        self.streams: list[CameraSession] = []
        for number, (policy, views) in enumerate(policies):
            camera: Any = Camera(f"c{number}", max_age=2.0)
            labels = LabelColumns.of((), self.engine.class_names, camera.name)
            named = [f"r{part}" for part in range(views)] if views > 1 else [None]
            parts = [RegionSession(labels, Decider(policy), region, part=part) for part, region in enumerate(named)]
            if own is not None:
                taught: Any = OwnClasses(own)
                parts[-1].labels, parts[-1].taught = LabelColumns.of_taught(taught), taught
            self.streams.append(CameraSession(camera, tuple(parts), priority=1.0 + number))
        self.recorder = recorder(self.recogniser, self.streams)
        self._pipeline = Pipeline(self.recogniser, publisher, lambda: self.readings, self.recorder, host="here", top=1)

    def _along(self, ready: int) -> Recogniser:
        own = [*self._of_own[-1:], *self._of_own[: max(0, ready - 1)]]
        branches = [*self._all[: max(0, ready - 1)], self._all[-1], *own]
        every = {*self._all, *self._of_own}
        times = {1: {str(branch): FULL_MS * self.profile.space.fraction(branch) for branch in every}}
        for size in self.engine.sizes[1:4]:
            times[size] = {branch: SAVING * size * single for branch, single in times[1].items()}
        engine: Any = self.engine
        return Recogniser.of(engine, self.profile, branches, times, self._content)

    def prepare(self, ready: int) -> None:
        """From now on so many branches are ready."""
        self.recogniser = self._along(ready)
        self._pipeline.take_up(self.recogniser)

    def step(self, step: "Step") -> None:
        """Time passes, frames come, and are answered."""
        self.clock.now += step.seconds
        self.readings = Readings(gpu_foreign=step.load, temperature_celsius=step.heat)
        self.engine.slowdown, self.engine.lead = step.slowdown, step.lead
        self.engine.memory = 1 << 30 if step.memory is None else step.memory
        for number in step.cameras:
            stream: Any = self.streams[number % len(self.streams)]
            stream.camera.whole = step.whole
            stream.camera.bring(self.clock.monotonic(), step.scene, step.motion, len(stream.views))
        while waiting := in_turn(self.streams):
            self._pipeline.answer(waiting, lambda: step.hurried)


@dataclass(frozen=True)
class Step:
    """What happens next. cameras: that bring a frame. memory: for so many runs, None for all."""

    seconds: float
    cameras: Iterable[int]
    scene: int
    motion: float | None
    load: float | None
    heat: float | None
    slowdown: float
    lead: float
    hurried: bool
    whole: bool
    memory: int | None


shares = st.floats(0, 1)
seldom = st.sampled_from([False] * 9 + [True])
steps = st.builds(
    Step,
    seconds=st.sampled_from([0.001, 0.04, 0.04, 0.04, 0.3, 3.0]),
    cameras=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    scene=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4]),
    motion=st.sampled_from([0.0, 0.0, 0.01, None]) | shares,
    load=st.sampled_from([None, 0.0, 0.0, 0.0]) | shares,
    heat=st.none() | st.floats(20, 100),
    slowdown=st.sampled_from([1.0, 1.0, 1.1, 3.0]),
    lead=st.floats(0, 8),
    hurried=seldom,
    whole=seldom.map(lambda torn: not torn),
    memory=st.sampled_from([None] * 9 + [0, 1]),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies of all rules, each there or not."""
    minimum, maximum = sorted((draw(st.floats(0.01, 1)), draw(st.floats(0.01, 1))))
    low, high = sorted((draw(st.floats(0.01, 1)), draw(st.floats(0.01, 1))))
    budget: dict[str, object] = {"minimum": minimum, "maximum": maximum}
    if draw(st.booleans()):
        budget |= {"mean": draw(st.floats(minimum, 1)), "mean_slack": draw(st.floats(0.1, 4))}
    rules: dict[str, object] = {
        "motion": {"curve": [[0.0, low], [0.1, high]]},
        "contention": {"curve": [[0.2, high], [0.6, low]]},
        "heat": {"curve": [[50, high], [80, low]]},
        "deadline": {"milliseconds": draw(st.floats(1, 60))},
        "share": {"busy": draw(st.floats(0.01, 1))},
        "evidence": {"curve": [[0.4, 0.9], [0.6, 0.0]], "mirrored": draw(st.booleans())},
        "reuse": {
            "change": draw(st.floats(0, 0.1)),
            "change_by_lead": draw(shares),
            "seconds": draw(st.floats(0.1, 5)),
        },
        "second_look": {"savings": draw(st.floats(0.2, 4))},
        "audit": {"share": draw(shares)},
    }
    left_out = draw(st.sets(st.sampled_from(sorted(rules)), max_size=4))
    return Policy.model_validate(
        {"budget": budget} | {name: rule for name, rule in rules.items() if name not in left_out}
    )


@st.composite
def known(draw: st.DrawFn) -> Profile:
    """Profiles of a small network, a smaller one beside it or not, with a scheduler that is better at some budgets.

    The scheduler is of the network itself, or of one with an adapter.
    """
    made = draw(profiles(SMALL))
    if draw(st.booleans()):
        made = beside(made, draw(profiles(TINY)), name="tiny")
    if draw(st.booleans()):
        made = beside(made, draw(profiles(SMALL)), name="adapted", adapter="a" * 64)
    levels = draw(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), max_size=4))
    scheduled = [
        Scheduled(budget=budget, accuracy=0.5, table=0.4, better=better)
        for budget, better in sorted(dict(levels).items())
    ]
    return made.model_copy(update={"scheduled": tuple(scheduled)})
