"""Command output on stdout: a box-drawn table on a terminal, a Markdown table for files and pipes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from adainf.base import output
from adainf.base.errors import printable
from adainf.evaluation.curve import CurvePoint
from adainf.evaluation.timing import Along
from adainf.profile import BranchTime, Profile
from adainf.research.study import Study

__all__ = [
    "points_as_json",
    "print_before",
    "print_confusion",
    "print_lesson",
    "print_levels",
    "print_points",
    "print_shares",
    "print_times",
]

_LONGEST_NAME = 100


def print_points(points: Sequence[CurvePoint], *, labelled: bool, by: str) -> None:
    """Print a line per ceiling: the branch, its MACs or its time too, its expected and its measured accuracy."""
    times = ["time"] if by == "time" else []
    limited = "time at most" if by == "time" else "MACs at most"
    table = _table(limited, "branch", "MACs", *times, "expected", "top-1" if labelled else "agreement", "of the full")
    for point in points:
        choice = point.choice
        if choice is None:
            table.add_row(f"{point.ceiling:.0%}", "none fits")
            continue
        cells = [_percent(choice.expected_accuracy), _percent(point.top1), _percent(point.relative)]
        shares = [_percent(choice.macs_fraction), *([_percent(point.time)] if times else [])]
        table.add_row(f"{point.ceiling:.0%}", str(choice.branch), *shares, *cells)
    _print(table)


def points_as_json(points: Sequence[CurvePoint]) -> str:
    """Return a JSON list with one object per ceiling; values are null where no branch fits."""
    return json.dumps(
        [
            {
                "ceiling": point.ceiling,
                "branch": None if point.choice is None else str(point.choice.branch),
                "macs": None if point.choice is None else point.choice.macs,
                "macs_fraction": None if point.choice is None else point.choice.macs_fraction,
                "time_fraction": point.time,
                "expected_accuracy": None if point.choice is None else point.choice.expected_accuracy,
                "top1": point.top1,
                "relative_top1": point.relative,
            }
            for point in points
        ],
        indent=1,
    )


def print_shares(study: Study, out: Path) -> None:
    """Print a line per method and budget: its top-1 relative to the full branch's, with 95 % intervals."""
    table = _table("method", "bound", "budget", "MACs", "top-1", "of the full", "95 %", "before raw lookup", "95 %")
    for share in study.shares:
        ahead = ["", ""]
        if share.lead is not None:
            lead, low, high = (100 * value for value in share.lead)
            ahead = [f"{lead:+.1f}", f"{low:+.1f} to {high:+.1f}"]
        shown = [f"{share.budget:.0%}", _percent(share.macs_fraction), _percent(share.top1), _percent(share.share)]
        table.add_row(
            printable(share.method, _LONGEST_NAME), share.bound, *shown, f"{share.low:.1%} to {share.high:.1%}", *ahead
        )
    measure = "top-1" if study.labelled else "agreement with itself"
    output.show(f"{out}: {study.images} images, {measure} of the full branch {study.full_top1:.1%}")
    for bound, count in study.overruns.items():
        output.show(f"{bound} budgets exceeded: {count}")
    output.show("")
    _print(table)
    for gain in study.gains:
        found = f"{100 * gain.gain:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        output.show(f"{gain.method} before {gain.against}, means of 25 to 80 % of the MACs, at equal MACs: {found}")


def print_times(profile: Profile, times: Mapping[Along, BranchTime]) -> None:
    """Print a line per branch, the most expensive first, with a column per number of pictures run together."""
    several = sorted({along.pictures for along in times if along.pictures > 1})
    table = _table("branch", "MACs", "p50 ms", "p95 ms", *(f"{pictures} together" for pictures in several))
    for branch in sorted({along.branch for along in times}, key=profile.space.macs, reverse=True):
        single = times.get(Along(branch))
        cells = ["", ""] if single is None else [f"{single.p50_ms:.2f}", f"{single.p95_ms:.2f}"]
        for pictures in several:
            of_pictures = times.get(Along(branch, pictures))
            cells.append("" if of_pictures is None else f"{of_pictures.p50_ms:.2f}")
        table.add_row(str(branch), _percent(profile.space.fraction(branch)), *cells)
    _print(table)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD if output.console().is_terminal else box.MARKDOWN)
    for column in columns:
        table.add_column(
            column, justify="left" if column in ("branch", "class", "method", "bound") else "right", no_wrap=True
        )
    return table


def _print(table: Table) -> None:
    console = output.console()
    if not console.is_terminal:
        # Off a terminal, rich would wrap at its default of 80 columns.
        console.width = 200
    console.print(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def print_lesson(report: Mapping[str, Any]) -> None:
    """Print how good taught classes are by `teaching.report`: the levels, the cheapest one's confusion, the advice."""
    names = [printable(name, _LONGEST_NAME) for name in report["names"]]
    print_levels(report["levels"], report["cheapest_within_a_point"])
    (cheapest,) = (level for level in report["levels"] if level["branch"] == report["cheapest_within_a_point"])
    output.show(f"The cheapest within a point of the best: {cheapest['branch']}")
    output.show("Confusion matrix, a row a true class:")
    output.show("")
    print_confusion(names, cheapest["confusion"])
    for doubt in report["doubts"]:
        looks_like = f"looks like {doubt['looks_like']}, {doubt['score']:.2f}"
        output.show(f"likely mislabelled: {doubt['picture']} ({doubt['label']}) {looks_like}")
    for twins in report["twins"]:
        one, other = (f"{name} ({label})" for name, label in zip(twins["pictures"], twins["labels"], strict=True))
        output.show(f"the same picture twice: {one} and {other}")
    for wish in report["wishes"]:
        more = wish["more_pictures"]
        wanted = "other pictures; more of the same kind help little" if more is None else f"about {more} more pictures"
        recalls = f"recall {wish['recall']:.1%}, taught with half of its pictures {wish['recall_by_half']:.1%}"
        output.show(f"{wish['label']} wants {wanted}: {recalls}")


def print_levels(levels: Sequence[Mapping[str, Any]], cheapest: str | None = None) -> None:
    """Print a line per branch: MACs, accuracy with its 95 % interval, balanced accuracy."""
    table = _table("branch", "MACs", "accuracy", "95 %", "balanced", "")
    for level in levels:
        low, high = level["interval"]
        mark = (
            "cheapest within a point" if level["branch"] == cheapest else "" if level.get("kept", True) else "set aside"
        )
        shown = [_percent(level["macs_fraction"]), _percent(level["accuracy"]), f"{low:.1%} to {high:.1%}"]
        table.add_row(level["branch"], *shown, _percent(level["balanced_accuracy"]), mark)
    _print(table)


def print_before(before: Sequence[Mapping[str, Any]], unknown_why: str | None) -> None:
    """Print a line per branch of the classes taught before: accuracy then and now on the pictures of the lesson.

    unknown_why: why there is nothing to compare; None if there is.
    """
    if unknown_why is not None:
        output.show(f"not compared with the file before: {unknown_why}")
        return
    table = _table("branch", "MACs", "before", "now")
    for of in before:
        table.add_row(of["branch"], *(_percent(of[key]) for key in ("macs_fraction", "before", "now")))
    _print(table)


def print_confusion(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    """Print counts: a row a class, a column an answer."""
    table = _table("class", *names)
    for name, row in zip(names, confusion, strict=False):
        table.add_row(name, *map(str, row))
    _print(table)
