"""A plot of budget, latency and load over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adainf.base.errors import InvalidInputError
from adainfd.replaying.decisions import Decision, Decisions

__all__ = ["draw"]

_COLOURS = {
    "maximum": "#2a9d4e",
    "motion": "#2a7fb8",
    "contention": "#c8352b",
    "power": "#8a5a00",
    "heat": "#d9772b",
    "deadline": "#8e44ad",
    "share": "#555555",
    "recovery": "#d4b106",
    "minimum": "#111111",
    "mean": "#1b9e9e",
    "cameras": "#e377c2",
}


def draw(before: Decisions, after: Decisions, policies: str, path: Path) -> None:
    """Draw a PNG to `path`; raises InvalidInputError if matplotlib is missing or `path` cannot be written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInputError("--plot: needs matplotlib; pip install 'adainf[plot]'") from None
    figure = Figure(figsize=(11, 8), layout="constrained")
    budget, latency, load = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1))
    _budgets(budget, before.decisions, after.decisions, policies)
    for decisions, label, colour in ((before, "recorded", "#999999"), (after, "replayed", "#2a7fb8")):
        times = [d.at for d in decisions.decisions]
        latency.plot(times, [d.latency_ms for d in decisions.decisions], color=colour, linewidth=0.8, label=label)
    for deadline in sorted({d.deadline_ms for d in after.decisions if d.deadline_ms is not None}):
        latency.axhline(deadline, color="#c8352b", linestyle="--", linewidth=1, label=f"deadline {deadline:g} ms")
    latency.set(ylabel="latency (ms)", ylim=(0, None))
    latency.legend(loc="upper right", fontsize="small")
    known = [(d.at, d.load) for d in after.decisions if d.load is not None]
    load.fill_between([at for at, _ in known], [share for _, share in known], color="#c8352b", alpha=0.4)
    load.set(ylabel="load of others", xlabel="seconds", ylim=(0, 1))
    try:
        figure.savefig(path, format="png", dpi=110)
    except OSError as error:
        raise InvalidInputError(f"plot {path}: cannot be written ({error.strerror})") from None


def _budgets(axes: Any, before: Sequence[Decision], after: Sequence[Decision], policies: str) -> None:
    axes.plot([d.at for d in before], [d.budget.fraction for d in before], color="#999999", linewidth=0.8, zorder=1)
    for rule, colour in _COLOURS.items():
        points = [(d.at, d.budget.fraction) for d in after if d.budget.limited_by == rule]
        if points:
            axes.scatter(*zip(*points, strict=True), s=5, color=colour, label=rule, zorder=2)
    axes.set(ylabel="budget (share of the full model)", ylim=(0, 1.05))
    axes.set_title(f"grey: recorded; dots: replayed under {policies}, by what limited the budget")
    axes.legend(loc="lower right", ncols=3, fontsize="small", markerscale=3)
