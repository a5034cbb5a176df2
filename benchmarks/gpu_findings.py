"""What a step of the GPU benchmark finds, written as it comes: a step that is cut short has said what it knew."""

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tables import Figure, Table

__all__ = ["Findings", "Step", "arguments"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a step is told. device: cuda or cpu. quick: little of everything, to see that it runs.

    work: a folder that all steps share. clip: of 12.5 frames a second.
    """

    device: str
    quick: bool
    work: Path
    clip: Path

    @property
    def start_seconds(self) -> float:
        """How long a daemon is given to its first result."""
        return 25.0 if self.device == "cuda" else 120.0


@dataclass
class Findings:
    """Figures, tables and notes of a step, in a file; each that is added is there at once."""

    path: Path | None = None
    figures: list[Figure] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def figure(self, figure: Figure) -> None:
        """Keep a figure beside its limit."""
        self.figures.append(figure)
        self._write()

    def row(self, title: str, headings: tuple[str, ...], *cells: str) -> None:
        """Keep a row of the table of that title."""
        self.tables.setdefault(title, Table(title, headings, [])).rows.append(cells)
        self._write()

    def note(self, text: str) -> None:
        """Keep a line of text."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            self.path.write_text(json.dumps(self.told()))

    def told(self) -> dict[str, Any]:
        """All of it, as `of` takes it."""
        return {
            "figures": [asdict(figure) for figure in self.figures],
            "tables": [asdict(table) for table in self.tables.values()],
            "notes": self.notes,
        }

    @classmethod
    def read(cls, path: Path) -> "Findings":
        """What a step has written; nothing where it has not come to that."""
        return cls.of(json.loads(path.read_text())) if path.exists() else cls()

    @classmethod
    def of(cls, read: dict[str, Any]) -> "Findings":
        """What `told` told."""
        tables = [
            Table(table["title"], tuple(table["headings"]), [tuple(row) for row in table["rows"]])
            for table in read["tables"]
        ]
        figures = [Figure(**figure) for figure in read["figures"]]
        return cls(None, figures, {table.title: table for table in tables}, read["notes"])


def arguments(description: str | None, *names: str) -> tuple[Step, Findings, str]:
    """A step's arguments, and which of these parts of it is to run."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=names or None, default=names[0] if names else "")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--work", type=Path, required=True, help="a folder that all steps share")
    parser.add_argument("--clip", type=Path, required=True, help="a video of 12.5 frames a second")
    parser.add_argument("--out", type=Path, help="where what is found goes")
    told = parser.parse_args()
    return Step(told.device, told.quick, told.work.resolve(), told.clip.resolve()), Findings(told.out), told.part
