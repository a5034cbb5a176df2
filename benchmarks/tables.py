"""Tables for a terminal and for the docs, and figures with their limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from pages import measured_on, put
from rich.console import Console
from rich.table import Table as RichTable

__all__ = ["Figure", "Table", "finish", "limits"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table for a terminal or the docs.

    met: whether all limits in it are met.
    """

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    met: bool = True

    def rich(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(title=self.title)
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and its limit.

    at_least: the limit is a lower bound. form: format of value and limit.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False
    form: str = "{:.2f}"

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> tuple[str, ...]:
        """Return the figure as a row of the table of limits."""
        sign = "≥" if self.at_least else "≤"
        shown = self.form.format(self.value), f"{sign} {self.form.format(self.limit)}"
        return self.what, *shown, "met" if self.met else "**missed**"


def limits(figures: Sequence[Figure]) -> Table:
    """Return a table of figures and their limits."""
    rows = [figure.row() for figure in figures]
    return Table("Limits", ("", "figure", "limit", ""), rows, all(figure.met for figure in figures))


def finish(name: str, tables: Sequence[Table], page: str | None, more: str = "") -> int:
    """Print the tables, write them to `page` if given, and return the exit status: 1 if a limit is missed.

    name: the benchmark's file name, which the page's markers contain. more: further text about the machine.
    """
    console = Console(width=160)
    for table in tables:
        console.print(table.rich())
    if page is not None:
        titled = (f"{table.title}:\n\n{table.markdown()}" for table in tables)
        put(page, f"benchmarks/{name}", "\n\n".join([f"{measured_on()}{more}.", *titled]))
    return 0 if all(table.met for table in tables) else 1
