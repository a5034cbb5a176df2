"""Mixtures of two branches with given mean MACs: the best use of a mean budget without looking at content."""

from collections.abc import Sequence

from adainf.schedulers.lookup import Choice

__all__ = ["expected", "hull", "mixture"]


def hull(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Return the choices on the upper concave hull of expected accuracy over MACs, cheapest first.

    A mixture of two of them matches or beats any other choice at the same mean MACs.
    """
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.macs, -choice.expected_accuracy)):
        if kept and choice.expected_accuracy <= kept[-1].expected_accuracy:
            continue
        while len(kept) > 1 and _gain(kept[-2], kept[-1]) <= _gain(kept[-1], choice):
            kept.pop()
        kept.append(choice)
    return tuple(kept)


def _gain(cheaper: Choice, dearer: Choice) -> float:
    return (dearer.expected_accuracy - cheaper.expected_accuracy) / (dearer.macs_fraction - cheaper.macs_fraction)


def mixture(hull: Sequence[Choice], mean: float) -> tuple[Choice, Choice, float]:
    """Return two choices of a hull, cheaper first, and the share of frames for the second, whose mean MACs are `mean`.

    Below the cheapest and above the most expensive choice, both are the same. mean: a fraction of the full branch's.
    """
    within = sum(choice.macs_fraction <= mean for choice in hull)
    cheaper, dearer = hull[max(0, within - 1)], hull[min(within, len(hull) - 1)]
    difference = dearer.macs_fraction - cheaper.macs_fraction
    return cheaper, dearer, (mean - cheaper.macs_fraction) / difference if difference else 0.0


def expected(hull: Sequence[Choice], mean: float) -> float:
    """Return the expected accuracy of the mixture at `mean`."""
    cheaper, dearer, share = mixture(hull, mean)
    return (1 - share) * cheaper.expected_accuracy + share * dearer.expected_accuracy
