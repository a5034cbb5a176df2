"""The report of a lesson as a JSON document, which the page and the tables show too."""

from collections.abc import Mapping, Sequence
from typing import Any

from adainf.teaching.levels import Level, within_a_point
from adainf.teaching.teach import Lesson

__all__ = ["before_document", "levels_document", "report"]

_DIGITS = 4


def report(lesson: Lesson) -> dict[str, Any]:
    """Return what a lesson found: the classes, the levels of MACs, and the advice; JSON values only."""
    labels, every = lesson.taught.labels, lesson.examples.every
    kept = set(lesson.taught.familiar)
    return {
        "schema": "adainf.lesson/1",
        "classes": [{"label": label, "pictures": len(of)} for label, of in sorted(lesson.examples.of_label.items())],
        "names": list(lesson.taught.names),
        "squeezed": lesson.taught.squeezed,
        "blocks": "time" if lesson.examples.timed else "listing",
        "cheapest_within_a_point": str(within_a_point(lesson.levels)[0].branch),
        "levels": [
            {**of, "kept": level.branch in kept}
            for of, level in zip(levels_document(lesson.levels), lesson.levels, strict=True)
        ],
        "doubts": [
            {
                "picture": every[doubt.row].name,
                "label": every[doubt.row].label,
                "looks_like": labels[doubt.answer],
                "score": round(doubt.score, _DIGITS),
            }
            for doubt in lesson.doubts
        ],
        "twins": [
            {
                "pictures": [every[pair.row].name, every[pair.other].name],
                "labels": [every[pair.row].label, every[pair.other].label],
            }
            for pair in lesson.twins
        ],
        "wishes": [
            {
                "label": labels[wish.label],
                "recall": round(wish.recall, _DIGITS),
                "recall_by_half": round(wish.half, _DIGITS),
                "more_pictures": wish.more,
            }
            for wish in lesson.wishes
        ],
    }


def before_document(before: Sequence[Level], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the accuracies of the branches of classes taught before, on the lesson's pictures, and those of now.

    report: the lesson's. now: None of a branch that was not tried this time.
    """
    now = {of["branch"]: of["accuracy"] for of in report["levels"]}
    return [
        {
            "branch": str(of.branch),
            "macs_fraction": round(of.macs_fraction, _DIGITS),
            "before": round(of.accuracy, _DIGITS),
            "now": now.get(str(of.branch)),
        }
        for of in before
    ]


def levels_document(levels: Sequence[Level]) -> list[dict[str, Any]]:
    """Return the levels as JSON values."""
    return [
        {
            "branch": str(of.branch),
            "macs": of.macs,
            "macs_fraction": round(of.macs_fraction, _DIGITS),
            "accuracy": round(of.accuracy, _DIGITS),
            "interval": [round(of.low, _DIGITS), round(of.high, _DIGITS)],
            "balanced_accuracy": round(of.balanced, _DIGITS),
            "loss": round(of.loss, _DIGITS),
            "confusion": [list(row) for row in of.confusion],
        }
        for of in levels
    ]
