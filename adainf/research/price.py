"""The price of compute under a mean budget: what one full branch's MACs must bring in right answers to be spent."""

from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Price"]

_HIGHEST = 10.0


@dataclass(frozen=True, slots=True)
class Price:
    """A dual variable: it rises by what frames want above the mean and falls by what they want below (dual ascent).

    mean: what a frame may take on average, a fraction of the full branch's MACs. bound: how far any number of frames
    may exceed it together, in full branches. savings: what frames have left of the mean, at most `bound`.
    """

    mean: float
    bound: float = 4.0
    value: float = 1.0
    step: float = 0.02
    savings: float = 0.0

    @property
    def allowed(self) -> float:
        """The most that the next frame may take, whatever it is worth: the mean and the savings.

        As long as frames keep to it, any `n` in a row take at most `n` times the mean, and the bound.
        """
        return self.mean + self.savings

    def after(self, spent: float, wanted: float) -> Self:
        """The price after a frame took so much, and would have taken `wanted` at this price, had there been room.

        By what was spent alone the price could not rise where room is scarce: all spend the mean then, worth it or not.
        """
        value = min(_HIGHEST, max(0.0, self.value + self.step * (wanted - self.mean)))
        return replace(self, value=value, savings=min(self.bound, self.savings + self.mean - spent))
