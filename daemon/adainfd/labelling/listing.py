"""The list of unsorted pictures and classes, as `adainfd label` shows it."""

from collections import Counter

from adainf.base import output
from adainf.base.errors import printable
from adainfd.labelling.sorting import Labels

__all__ = ["show"]

_LONGEST = 100
_LONGEST_FILE = 255


def show(labels: Labels) -> None:
    """Print a line for each unsorted picture, the least certain first, then the numbers by reason and by class."""
    pictures = labels.unsorted()
    for picture in pictures:
        score = "" if picture.score is None else f"{picture.score:.2f}"
        label = printable(picture.label or "", _LONGEST)
        output.show(f"{picture.reason or 'other':8} {label:12} {score:4} {printable(picture.name, _LONGEST_FILE)}")
    if pictures:
        output.show("")
    reasons = Counter((picture.reason or "other", picture.label or "") for picture in pictures)
    told = [
        f"{count} {reason} {printable(label, _LONGEST)}".rstrip() for (reason, label), count in sorted(reasons.items())
    ]
    by_reason = f" ({', '.join(told)})" if told else ""
    output.show(f"unsorted: {len(pictures)}{by_reason}")
    for name, count in labels.classes().items():
        output.show(f"{printable(name, _LONGEST)}: {count}")
