"""Writing of benchmark tables to their reports, between markers with the benchmark's name."""

from datetime import UTC, datetime
from pathlib import Path

from adainf.engines.processor import processor_name, usable_processors
from adainf.profile import write_atomically

__all__ = ["measured_on", "put"]

_REPORTS = Path(__file__).parent / "reports"


def measured_on() -> str:
    """Return the machine and the date."""
    return f"{processor_name()}, {usable_processors()} processors; {datetime.now(UTC):%Y-%m-%d}"


def put(page: str, name: str, body: str) -> None:
    """Replace the text between the markers of `name` in a report by `body`; raises ValueError if there is no marker."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = (_REPORTS / page).read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    if not found:
        raise ValueError(f"{page}: has no mark {begin}")
    write_atomically(_REPORTS / page, f"{before}{begin}\n{body}\n{end}{rest.partition(end)[2]}")
