"""Bootstrap intervals over pictures; both sides of a comparison use the same resamples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval"]

_DRAWS, _AT_ONCE = 2000, 100


def interval(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], right: NDArray[np.float64], seed: int = 0
) -> tuple[float, float]:
    """Return the central 95 % interval of a statistic of means, by bootstrap over pictures (Efron, 1979).

    right: (pictures, columns). statistic: maps each resample's means (draws, columns) to (draws,).
    """
    generator = np.random.default_rng(seed)
    pictures = len(right)
    statistics = []
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=_AT_ONCE)
        statistics.append(statistic(drawn @ right / pictures))
    low, high = np.percentile(np.concatenate(statistics), (2.5, 97.5))
    return float(low), float(high)
