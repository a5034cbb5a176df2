"""The report of a lesson as one HTML page that holds its pictures."""

from collections.abc import Mapping
from typing import Any

from adainf.teaching.teach import Lesson

__all__ = ["page"]


def page(lesson: Lesson, report: Mapping[str, Any]) -> str:
    """Return the page."""
    raise NotImplementedError
