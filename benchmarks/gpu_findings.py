"""Findings of a GPU benchmark step, written immediately, so that an aborted step leaves its findings so far."""

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tables import Figure, Table

__all__ = ["Findings", "Step", "arguments"]


@dataclass(frozen=True, slots=True)
class Step:
    """The settings of a step.

    device: cuda or cpu. quick: a minimal run, as a smoke test. work: a folder shared by all steps. clip: a video of
    12.5 frames per second.
    """

    device: str
    quick: bool
    work: Path
    clip: Path

    @property
    def start_seconds(self) -> float:
        """Time limit for a daemon's first result, in seconds."""
        return 25.0 if self.device == "cuda" else 120.0


@dataclass
class Findings:
    """Figures, tables and notes of a step, kept in a file that each addition rewrites.

    path: None for no file.
    """

    path: Path | None = None
    figures: list[Figure] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def figure(self, figure: Figure) -> None:
        """Add a figure with its limit."""
        self.figures.append(figure)
        self._write()

    def row(self, title: str, headings: tuple[str, ...], *cells: str) -> None:
        """Add a row to the table `title`, which is created on first use."""
        self.tables.setdefault(title, Table(title, headings, [])).rows.append(cells)
        self._write()

    def note(self, text: str) -> None:
        """Add a text."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            self.path.write_text(json.dumps(self.told()))

    def told(self) -> dict[str, Any]:
        """Return the findings as a JSON document, the input of `of`."""
        return {
            "figures": [asdict(figure) for figure in self.figures],
            "tables": [asdict(table) for table in self.tables.values()],
            "notes": self.notes,
        }

    @classmethod
    def read(cls, path: Path) -> "Findings":
        """Read a step's findings; empty if it has not written any."""
        return cls.of(json.loads(path.read_text())) if path.exists() else cls()

    @classmethod
    def of(cls, read: dict[str, Any]) -> "Findings":
        """Return the findings from the output of `told`."""
        tables = [
            Table(table["title"], tuple(table["headings"]), [tuple(row) for row in table["rows"]])
            for table in read["tables"]
        ]
        figures = [Figure(**figure) for figure in read["figures"]]
        return cls(None, figures, {table.title: table for table in tables}, read["notes"])


def arguments(description: str | None, *names: str) -> tuple[Step, Findings, str]:
    """Parse a step's arguments; return the settings, the findings, and which of the parts `names` to run."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=names or None, default=names[0] if names else "")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--work", type=Path, required=True, help="a folder that all steps share")
    parser.add_argument("--clip", type=Path, required=True, help="a video of 12.5 frames a second")
    parser.add_argument("--out", type=Path, help="where what is found goes")
    parsed = parser.parse_args()
    return (
        Step(parsed.device, parsed.quick, parsed.work.resolve(), parsed.clip.resolve()),
        Findings(parsed.out),
        parsed.part,
    )
