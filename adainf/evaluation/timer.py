"""Timing of forward passes along a branch, without importing torch."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adainf.branch import Branch
from adainf.engines import Engine
from adainf.profile import BranchTime

__all__ = ["Timer", "summary"]


class Timer:
    """A timer of one engine's branches, on pictures of noise."""

    def __init__(self, engine: Engine, seed: int = 0, now: Callable[[], float] = time.perf_counter) -> None:
        """Create a timer on noise drawn from `seed`; the clock `now` returns seconds."""
        self._engine = engine
        self._picture = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8)
        self._prepared: dict[tuple[str, int], Any] = {}
        self._now = now

    def seconds(self, branch: Branch, pictures: int = 1) -> float:
        """Return the time of one forward pass of `pictures` pictures together, in seconds."""
        into = branch.network, branch.resolution
        if into not in self._prepared:
            self._prepared[into] = self._engine.prepare(self._picture, branch.resolution, branch.network)
        started = self._now()
        self._engine.run([self._prepared[into]] * pictures, [branch] * pictures)
        return self._now() - started


def summary(seconds: Sequence[float]) -> BranchTime:
    """Return the median and 95th percentile of a branch's times, in ms, for a profile."""
    p50, p95 = np.percentile(np.multiply(seconds, 1000), (50, 95))
    # A profile requires times above 0, and a coarse clock may measure 0.
    return BranchTime(p50_ms=max(round(float(p50), 3), 0.001), p95_ms=max(round(float(p95), 3), 0.001))
