"""What a benchmark writes into a page of the docs, between the marks that bear its name."""

from datetime import UTC, datetime
from pathlib import Path

from adainf.engines.processor import processor_name, usable_processors
from adainf.profile import write_atomically

__all__ = ["measured_on", "put"]

_DOCS = Path(__file__).parents[1] / "docs"


def measured_on() -> str:
    """The machine and the date."""
    return f"{processor_name()}, {usable_processors()} processors; {datetime.now(UTC):%Y-%m-%d}"


def put(page: str, name: str, body: str) -> None:
    """Put `body` between the marks of `name` on this page, in place of what was there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = (_DOCS / page).read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    if not found:
        raise ValueError(f"{page}: has no mark {begin}")
    write_atomically(_DOCS / page, f"{before}{begin}\n{body}\n{end}{rest.partition(end)[2]}")
