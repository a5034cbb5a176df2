"""The report of a lesson as one HTML page that holds its pictures."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2

from adainf.base.errors import harmless
from adainf.teaching.examples import Example
from adainf.teaching.teach import Lesson

__all__ = ["page"]

_SIDE, _QUALITY = 128, 75
_MOST_OF_CLASS = 60
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
:root { --good: #2a8; --bad: #c54; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr.best { font-weight: 600; } td.right { color: var(--good); } td.wrong { color: var(--bad); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; }
figure { margin: 0; } img { width: 100%; border-radius: 4px; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } .doubt { color: var(--bad); }
"""


def page(lesson: Lesson, report: Mapping[str, Any]) -> str:
    """Return the page. report: of the lesson (`report.report`)."""
    images = [_image(example) for example in lesson.examples.every]
    title = f"Taught: {', '.join(_text(label) for label in lesson.taught.labels)}"
    parts = [
        f"<h1>{title}</h1>",
        _summary(report),
        "<h2>Accuracy at each level of compute</h2>",
        _levels(report),
        "<h2>Confusion matrix</h2>",
        _confusion(report),
        *_doubts(lesson, images),
        *_twins(lesson, images),
        *_wishes(report),
        *_classes(lesson, images),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _summary(report: Mapping[str, Any]) -> str:
    best = _cheapest(report)
    low, high = best["interval"]
    pictures = ", ".join(f"{of['pictures']} of {_text(of['label'])}" for of in report["classes"])
    blocks = "blocks of time" if report["blocks"] == "time" else "blocks of neighbours in the listing"
    return (
        f"<p>{pictures}. Cross-validated ({blocks}): heads that had seen neither a picture nor its neighbours "
        "classified it. "
        f"At {best['macs_fraction']:.1%} of the full branch's compute, the cheapest within a point of the best, "
        f"<strong>{best['accuracy']:.1%}</strong> are right ({low:.1%} to {high:.1%}).</p>"
    )


def _levels(report: Mapping[str, Any]) -> str:
    rows = []
    for level in report["levels"]:
        low, high = level["interval"]
        best = ' class="best"' if level["branch"] == report["cheapest_within_a_point"] else ""
        cells = [f"{level['macs_fraction']:.1%}", f"{level['accuracy']:.1%}", f"{low:.1%} to {high:.1%}"]
        cells += [f"{level['balanced_accuracy']:.1%}", "" if level["kept"] else "set aside"]
        rows.append(f"<tr{best}><td>{_text(level['branch'])}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return _table(("branch", "MACs", "accuracy", "95 %", "balanced", ""), rows)


def _confusion(report: Mapping[str, Any]) -> str:
    rows = []
    for number, (name, counts) in enumerate(zip(report["names"], _cheapest(report)["confusion"], strict=False)):
        cells = []
        for answer, count in enumerate(counts):
            kind = "right" if answer == number else "wrong" if count else ""
            cells.append(f'<td class="{kind}">{count or ""}</td>')
        rows.append(f"<tr><td>{_text(name)}</td>{''.join(cells)}</tr>")
    return _table(("true class", *(f"answered {_text(name)}" for name in report["names"])), rows)


def _cheapest(report: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(level for level in report["levels"] if level["branch"] == report["cheapest_within_a_point"])


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    return f"<table><tr>{''.join(f'<th>{heading}</th>' for heading in headings)}</tr>{''.join(rows)}</table>"


def _doubts(lesson: Lesson, images: Sequence[str]) -> list[str]:
    if not lesson.doubts:
        return []
    shown = []
    for doubt in lesson.doubts:
        example, looks_like = lesson.examples.every[doubt.row], lesson.taught.labels[doubt.answer]
        told = f"{_text(example.label)}, looks like <span class='doubt'>{_text(looks_like)} {doubt.score:.2f}</span>"
        shown.append(_figure(images[doubt.row], f"{told}<br>{_text(example.name)}"))
    return ["<h2>Likely mislabelled</h2>", _grid(shown)]


def _twins(lesson: Lesson, images: Sequence[str]) -> list[str]:
    if not lesson.twins:
        return []
    every = lesson.examples.every
    rows = [row for pair in lesson.twins for row in (pair.row, pair.other)]
    shown = [_figure(images[row], f"{_text(every[row].label)}<br>{_text(every[row].name)}") for row in rows]
    return ["<h2>Nearly the same picture with different labels, in pairs</h2>", _grid(shown)]


def _wishes(report: Mapping[str, Any]) -> list[str]:
    told = [
        f"<li>{_text(wish['label'])}: {_more(wish['more_pictures'])}. {wish['recall']:.1%} of its pictures are "
        f"right; taught with half of the pictures, {wish['recall_by_half']:.1%}.</li>"
        for wish in report["wishes"]
    ]
    return ["<h2>Classes that want more pictures</h2>", f"<ul>{''.join(told)}</ul>"] if told else []


def _more(pictures: int | None) -> str:
    return "other pictures, since more of the same kind help little" if pictures is None else f"about {pictures} more"


def _classes(lesson: Lesson, images: Sequence[str]) -> list[str]:
    """Return the pictures of each class, those first that hurt most."""
    parts = []
    for number, label in enumerate(lesson.taught.labels):
        own = lesson.shares[:, number]
        rows = [row for row, example in enumerate(lesson.examples.every) if example.label == label]
        rows = sorted(rows, key=lambda row: own[row])[:_MOST_OF_CLASS]
        shown = [_figure(images[row], f"{own[row]:.2f} {_text(lesson.examples.every[row].name)}") for row in rows]
        parts += [f"<h2>{_text(label)}: the least certain first, with the probability of this class</h2>", _grid(shown)]
    return parts


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="pictures">{"".join(figures)}</div>'


def _figure(image: str, caption: str) -> str:
    return f'<figure><img alt="" src="{image}"><figcaption>{caption}</figcaption></figure>'


def _image(example: Example) -> str:
    """Return a small JPEG as a data address."""
    picture = example.read()
    factor = min(1.0, _SIDE / min(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _text(text: str) -> str:
    return escape(harmless(text))
