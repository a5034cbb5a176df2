"""The price of compute under a mean budget: what one full branch's MACs must bring in right answers to be spent.

The mean budget itself is the controller's (`adainf.control.allowance`): what is evaluated here is what runs there.
"""

from dataclasses import dataclass, replace
from typing import Self

from adainf.control.allowance import allowed_by_mean, saved_under_mean
from adainf.control.policy import Budgets

__all__ = ["Price"]

_HIGHEST = 10.0


@dataclass(frozen=True, slots=True)
class Price:
    """A dual variable: it rises by what frames want above the mean and falls by what they want below (dual ascent).

    mean: what a frame may take on average, a fraction of the full branch's MACs. slack: how far any number of frames
    may exceed it together, in full branches. savings: what frames have left of the mean.
    """

    mean: float
    slack: float = 4.0
    value: float = 1.0
    step: float = 0.02
    savings: float = 0.0

    @property
    def allowed(self) -> float:
        """The most that the next frame may take, whatever it is worth."""
        return allowed_by_mean(self.savings, self._budget) or 0.0

    def after(self, spent: float, wanted: float) -> Self:
        """The price after a frame took so much, and would have taken `wanted` at this price, had there been room.

        By what was spent alone the price could not rise where room is scarce: all spend the mean then, worth it or not.
        """
        value = min(_HIGHEST, max(0.0, self.value + self.step * (wanted - self.mean)))
        return replace(self, value=value, savings=saved_under_mean(self.savings, self._budget, self.mean, spent))

    @property
    def _budget(self) -> Budgets:
        return Budgets.model_construct(mean=self.mean, mean_slack=self.slack)
