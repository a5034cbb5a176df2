"""Plots of an evaluation in the paper's style: accuracy against MACs."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adainf.base.errors import InvalidInputError
from adainf.profile import Profile, write_atomically
from adainf.research.answers import Answers
from adainf.research.published import Published
from adainf.research.report import Row

__all__ = ["draw_branches", "draw_curve", "figure"]

# Each method has the same colour in every figure; unattainable bounds are grey and dashed.
_LOOKS: dict[str, dict[str, Any]] = {
    "table": {"color": "#2a7fb8", "linewidth": 2.2, "zorder": 5},
    "lookup, raw weights": {"color": "#c8352b", "linewidth": 1.6},
    "lookup, adapted weights": {"color": "#d9902b", "linewidth": 1.6},
    "upper envelope": {"color": "#555555", "linewidth": 1.1, "linestyle": "--"},
    "oracle": {"color": "#999999", "linewidth": 1.1, "linestyle": ":"},
    "random feasible branch": {"color": "#bbbbbb", "linewidth": 1.3},
    "paper": {"color": "#2a9d4e", "linewidth": 1.8, "zorder": 6},
    "paper, content shuffled": {"color": "#8e44ad", "linewidth": 1.1, "linestyle": "--"},
    "better of table and paper": {"color": "#111111", "linewidth": 1.1, "zorder": 7},
    "content": {"color": "#2a9d4e", "linewidth": 2.2, "zorder": 6},
    "content, shuffled": {"color": "#8e44ad", "linewidth": 1.3},
}
_BOUNDS = (("hard", "a ceiling for each picture"), ("soft", "a soft bound"), ("mean", "a mean over the pictures"))


def figure(*, width: float = 11, height: float = 5.2) -> Any:
    """Return an empty figure, size in inches; raises InvalidInputError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInputError("figures need matplotlib; pip install 'adainf[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_curve(rows: Sequence[Row], title: str, path: Path, published: Sequence[Published] = ()) -> None:
    """Write a PNG to `path`: one panel per kind of bound, one line per method.

    published: points of other networks; each share of its own full model's top-1 is drawn as that share of ours.
    """
    bounds = [(bound, name) for bound, name in _BOUNDS if any(row.bound == bound for row in rows)]
    drawn = figure(width=6.2 * len(bounds))
    panels = drawn.subplots(1, len(bounds), sharey=True, squeeze=False)[0]
    full = max(row.top1 for row in rows if row.method == "table")
    for panel, (bound, name) in zip(panels, bounds, strict=True):
        for method in dict.fromkeys(row.method for row in rows if row.bound == bound):
            points = sorted((row.macs_fraction, row.top1) for row in rows if (row.method, row.bound) == (method, bound))
            steps = {"drawstyle": "steps-post"} if bound == "hard" and method != "random feasible branch" else {}
            panel.plot(*zip(*points, strict=True), label=method, **{**steps, **_LOOKS.get(method, {})})
        for marker, label in zip("osD^v", dict.fromkeys(point.label for point in published), strict=False):
            shown = [(point.macs_fraction, full * point.share) for point in published if point.label == label]
            looks = {"marker": marker, "facecolors": "none", "edgecolors": "#333333", "zorder": 8}
            panel.scatter(*zip(*shown, strict=True), label=f"{label} (published)", **looks)
        panel.axhline(full, color="#dddddd", linewidth=1, zorder=0)
        panel.set(xlabel="MACs, mean over the pictures (share of the full model's)", title=name, xlim=(0, 1.02))
        panel.grid(color="#eeeeee")
        panel.legend(loc="lower right", fontsize="small")
    panels[0].set(ylabel="top-1", ylim=(0, None))
    drawn.suptitle(title, fontsize="medium")
    _save(drawn, path)


def draw_branches(answers: Answers, profile: Profile, title: str, path: Path) -> None:
    """Write a PNG to `path`: one marker per branch, coloured by input resolution, with a shape for each network."""
    drawn = figure(width=8)
    axes = drawn.subplots()
    top1 = answers.right.mean(axis=0)
    macs = np.array([profile.space.fraction(branch) for branch in answers.branches])
    sides = np.array([branch.resolution for branch in answers.branches])
    for marker, (key, network) in zip(itertools.cycle("o^sDvP"), profile.of_key.items(), strict=False):
        shown = np.array([branch.network == key for branch in answers.branches])
        if shown.any():
            dots = axes.scatter(
                macs[shown], top1[shown], c=sides[shown], marker=marker, s=26, cmap="viridis",
                vmin=sides.min(), vmax=sides.max(), alpha=0.8, label=network.name,
            )  # fmt: skip
    drawn.colorbar(dots, ax=axes, label="input, pixels a side", ticks=sorted(set(sides.tolist())))
    axes.set(xlabel="MACs (share of the full model's)", ylabel="top-1", xlim=(0, 1.02), ylim=(0, None))
    axes.set_title(title, fontsize="medium")
    axes.grid(color="#eeeeee", zorder=0)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize="small")
    _save(drawn, path)


def _save(drawn: Any, path: Path) -> None:
    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=110)
    write_atomically(path, content.getvalue())
