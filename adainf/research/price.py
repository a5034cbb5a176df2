"""The price of compute under a mean budget: the right answers that one full branch's MACs must gain to be spent.

The mean budget is the controller's own (`adainf.control.allowance`), so evaluation and deployment share the code.
"""

from dataclasses import dataclass, replace
from typing import Self

from adainf.control.allowance import allowed_by_mean, saved_under_mean
from adainf.control.policy import Budgets

__all__ = ["Price"]

_HIGHEST = 10.0


@dataclass(frozen=True, slots=True)
class Price:
    """A dual variable, updated by dual ascent: it rises when frames want more than the mean, and falls when less.

    mean: mean MACs per frame, a fraction of the full branch's. slack: the most by which frames may exceed the mean in
    total, in full branches. savings: unspent MACs accumulated under the mean.
    """

    mean: float
    slack: float = 4.0
    value: float = 1.0
    step: float = 0.02
    savings: float = 0.0

    @property
    def allowed(self) -> float:
        """The most MACs that the next frame may take, whatever its value."""
        return allowed_by_mean(self.savings, self._budget) or 0.0

    def after(self, spent: float, wanted: float) -> Self:
        """Return the price after a frame that took `spent`, and would have taken `wanted` without the allowance.

        The price follows `wanted`: when the allowance is scarce, every frame spends the mean whatever its value, so
        that `spent` alone would never raise the price.
        """
        value = min(_HIGHEST, max(0.0, self.value + self.step * (wanted - self.mean)))
        return replace(self, value=value, savings=saved_under_mean(self.savings, self._budget, self.mean, spent))

    @property
    def _budget(self) -> Budgets:
        return Budgets.model_construct(mean=self.mean, mean_slack=self.slack)
