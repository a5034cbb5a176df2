"""The controller: signals, the state before and the time, in; a budget and the rule that set it, out."""

import math
from dataclasses import dataclass
from typing import Literal

from adainfd.control.policy import Policy

__all__ = ["Budget", "ControllerState", "LimitedBy", "Signals", "next_budget"]

LimitedBy = Literal["maximum", "motion", "contention", "recovery", "minimum"]

# Budgets are told and compared in ten-thousandths: no branch differs from another by less.
_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Signals:
    """What a policy looks at for one frame, shares from 0 to 1; None is unknown."""

    motion: float | None = None
    gpu_utilization: float | None = None
    gpu_foreign: float | None = None
    cpu_pressure: float | None = None
    cpu_foreign: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The largest fraction of the full branch's MACs allowed for a frame, and the rule that set it."""

    fraction: float
    limited_by: LimitedBy


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller remembers of a camera: the ceiling that other programs left, and when (monotonic seconds)."""

    ceiling: float = 1.0
    at: float = -math.inf


def next_budget(
    state: ControllerState, signals: Signals, policy: Policy, floor: float, now: float
) -> tuple[Budget, ControllerState]:
    """The budget of the next frame, and the state to come with next time.

    floor: the smallest budget that any branch fits; no budget is below it. now: monotonic seconds.
    The lowest rule binds; of equally low ones the first of: maximum, motion, contention, recovery. What contention
    cuts is cut at once and comes back at the policy's `rise_per_second`, meanwhile said to be limited by `recovery`;
    what motion asks for is given at once both ways.
    """
    load = contention(signals)
    allowed = 1.0 if load is None else policy.contention.at(load)
    recovered = state.ceiling + policy.budget.rise_per_second * max(0.0, now - state.at)
    ceiling = min(allowed, recovered, 1.0)
    rules: list[tuple[float, LimitedBy]] = [(policy.budget.maximum, "maximum")]
    if signals.motion is not None:
        rules.append((policy.motion.at(signals.motion), "motion"))
    rules.append((ceiling, "contention" if allowed <= recovered else "recovery"))
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    lowest = max(policy.budget.minimum, floor)
    if fraction < lowest:
        fraction, limited_by = lowest, "minimum"
    rounded = max(math.floor(fraction * _STEPS), math.ceil(floor * _STEPS)) / _STEPS
    return Budget(rounded, limited_by), ControllerState(ceiling, now)


def contention(signals: Signals) -> float | None:
    """The share of the processor that other programs take from us; None where nothing tells.

    On the CPU others must be busy and somebody must wait: busy others on idle processors take nothing away,
    and our own threads waiting for each other are no contention.
    """
    if signals.gpu_foreign is not None:
        return signals.gpu_foreign
    if signals.gpu_utilization is not None or signals.cpu_foreign is None:
        return None
    return signals.cpu_foreign if signals.cpu_pressure is None else min(signals.cpu_foreign, signals.cpu_pressure)
