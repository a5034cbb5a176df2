"""A modelled box whose processors other programs share, and a camera whose frames are answered on it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adainf import shipped
from adainf.control import Costs, Decider, Policy, Ran, Signals
from adainf.control.policy import DeadlineRule
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable

FRAMES_PER_SECOND = 25
TABLE = LookupTable(Profile.read(shipped.find("profiles", "efficientnet-lite0", ".json")), most=12)
# As measured on two processors of an AMD EPYC (benchmarks/reports/performance.md).
TIMES = {str(choice.branch): 0.25 + 5.2 * choice.macs_fraction for choice in TABLE.frontier}
COSTS = Costs.of(TABLE.frontier, {1: TIMES})
AROUND_MS = 1.5
FULL_MS = COSTS.milliseconds[-1] + AROUND_MS
SCENE_SECONDS = 1.5
SENSOR_FRAMES = 12  # the sensors cover the last half second


@dataclass
class Box:
    """A box on which a program runs for a few milliseconds, then waits for others, and so on.

    slower: how many times longer its work takes beside others, without the waiting. runs_ms, waits_ms: the ranges of
    the milliseconds between two waits and of a wait. wakes: how often a forward pass waits as it begins, because its
    threads must wake. stalls: the share of frames that are held up before they begin,
    stall_ms: the range of how long, whatever runs then.
    """

    chance: random.Random
    slower: float = 1.1
    runs_ms: tuple[float, float] = (0.5, 5.0)
    waits_ms: tuple[float, float] = (2.0, 4.5)
    wakes: float = 0.0
    stalls: float = 0.0
    stall_ms: tuple[float, float] = (10.0, 20.0)

    def around(self, load: float) -> float:
        """Return the milliseconds of a frame outside its forward pass."""
        stalled = self.chance.random() < self.stalls * load
        return self.took(AROUND_MS, load) + (self.chance.uniform(*self.stall_ms) if stalled else 0.0)

    def forward(self, milliseconds: float, load: float) -> float:
        """Return the milliseconds of a forward pass that takes so many on the idle box."""
        waits = self.chance.random() < self.wakes * load
        return self.took(milliseconds, load) + (self.chance.uniform(*self.waits_ms) if waits else 0.0)

    def took(self, milliseconds: float, load: float) -> float:
        """Return how long work takes that takes so many milliseconds on the idle box. load: of the others, 0..1."""
        chance = self.chance
        work = milliseconds * (1 + (self.slower - 1) * load) * chance.uniform(0.97, 1.1)
        if load == 0:
            return work
        waited, until = 0.0, chance.uniform(0, self.runs_ms[1]) / load
        while until < work:
            waited += chance.uniform(*self.waits_ms)
            until += chance.uniform(*self.runs_ms) / load
        return work + waited

    def late_share(self, branch_ms: float, deadline_ms: float, load: float = 1.0, frames: int = 2000) -> float:
        """Return the share of late frames if all ran along one branch."""
        box = replace(self, chance=random.Random(0))
        totals = (box.forward(branch_ms, load) + box.around(load) for _ in range(frames))
        return sum(total > deadline_ms for total in totals) / frames


@dataclass(frozen=True)
class Answered:
    """A frame, `at` seconds from the start; branch_ms: of the branch that ran, None if none did."""

    at: float
    budget: float
    branch_ms: float | None
    total_ms: float


@dataclass
class Camera:
    """A camera on a box, under the policy low-latency with a deadline of twice the idle full model's time.

    still: the share of each scene in which nothing moves. sensed: whether the sensors tell the load of others.
    """

    box: Box
    still: float = 0.5
    sensed: bool = True
    deadline_ms: float = 2 * FULL_MS
    quantile: float = 0.98
    _last_ran: int | None = field(default=None, init=False)

    def answers(self, loads: Sequence[float]) -> list[Answered]:
        """Return how each frame was answered; loads: of the other programs, a value per frame."""
        rule = DeadlineRule(milliseconds=self.deadline_ms, quantile=self.quantile)
        decider = Decider(Policy.read("low-latency").model_copy(update={"deadline": rule}))
        return [self._answer(decider, number, loads[: number + 1]) for number in range(len(loads))]

    def _answer(self, decider: Decider, number: int, loads: Sequence[float]) -> Answered:
        load, at = loads[-1], number / FRAMES_PER_SECOND
        sensed = 0.9 * sum(loads[-SENSOR_FRAMES:]) / SENSOR_FRAMES if self.sensed else None
        still = at / SCENE_SECONDS % 1.0 >= 1 - self.still
        signals = Signals(motion=0.0, change=0.0 if still else 0.3, cpu_foreign=sensed, cpu_pressure=sensed)
        age = None if self._last_ran is None else at - self._last_ran / FRAMES_PER_SECOND
        request = decider.request(signals, age, 0.5, TABLE, COSTS, 10.0 + at)
        around, ran = self.box.around(load), None
        if not request.reuses:
            ran = self._ran(request.choice, load, around)
            self._last_ran = number
        decider.settle(request, ran)
        if ran is not None:
            return Answered(at, request.budget.fraction, ran.expected_ms, around + ran.forward_ms)
        if (better := decider.better_look(TABLE, COSTS, around)) is not None:
            decider.settle_better_look(self._ran(better[1], load, around))
            self._last_ran = number
        return Answered(at, request.budget.fraction, None, around)

    def _ran(self, choice: Choice, load: float, around: float) -> Ran:
        expected = COSTS.within(choice.macs_fraction)
        return Ran(choice, self.box.forward(expected, load), around, expected)


def seconds(*phases: tuple[float, float]) -> list[float]:
    """Return the load of each frame; phases: (seconds, load)."""
    return [load for lasting, load in phases for _ in range(round(lasting * FRAMES_PER_SECOND))]
