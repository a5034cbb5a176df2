"""The commands that the pages tell, in their order, and what a page shows below each."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "Command", "commands"]

REPOSITORY = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "calibration/README.md",
    *sorted(f"docs/{file.name}" for file in (REPOSITORY / "docs").glob("*.md")),
)

_SHELL = ("sh", "bash", "shell", "console")
_OURS = ("adainf", "adainfd", "torchrun")
_TOLD_INLINE = (*_OURS, "make", "systemctl", "journalctl", "kill", "pip", "apt-get", "dnf", "gcc", "npm", "python")


@dataclass(frozen=True, slots=True)
class Command:
    """One command line of a page. heading: the nearest above it. shown: the output that stands below it."""

    page: str
    heading: str
    text: str
    shown: tuple[str, ...] = ()
    inline: bool = False

    def __str__(self) -> str:
        return f"{self.page}, {self.heading}: {self.text}"


def commands(page: str) -> list[Command]:
    """All of a page: from shell blocks, from indented ones where a line is a command, and told within a sentence."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found: list[Command] = []
    heading = ""
    for kind, lines in _blocks(text.splitlines()):
        if kind == "heading":
            heading = lines[0].strip("# ")
        elif kind in _SHELL or kind == "indented":
            found += _told(page, heading, lines, certain=kind != "indented")
        elif kind == "text":
            found += _within(page, heading, " ".join(lines))
    return found


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The page's parts: ("heading", [line]), ("text", lines of a paragraph), ("indented", …) or (language, …)."""
    kind, part = "text", list[str]()
    for line in lines:
        fence = re.match(r" *```(\w*)", line)
        if kind not in ("text", "indented"):
            if fence:
                yield kind, part
                kind, part = "text", []
            else:
                part.append(line)
            continue
        now = "indented" if line.startswith("    ") and (kind == "indented" or not part) else "text"
        if fence or line.startswith("#") or not line.strip() or now != kind:
            yield kind, part
            kind, part = now, []
        if fence:
            kind = fence[1] or "output"
        elif line.startswith("#"):
            yield "heading", [line]
        elif line.strip():
            part.append(line)
    yield kind, part


def _told(page: str, heading: str, lines: list[str], *, certain: bool) -> Iterator[Command]:
    prompted = any(line.lstrip().startswith("$ ") for line in lines)
    command, shown = "", list[str]()
    for line in [*_joined(lines), None]:
        starts = line is not None and (line.lstrip().startswith("$ ") if prompted else certain or _is_command(line))
        if starts or line is None:
            if command:
                yield Command(page, heading, command, tuple(shown))
            command, shown = (line or "").strip().removeprefix("$ "), []
        elif command:
            shown.append(line or "")


def _joined(lines: list[str]) -> list[str]:
    """With what is continued in one line: after a backslash, an operator, or in a loop."""
    joined: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        last = joined[-1] if joined else ""
        if last.endswith("\\"):
            joined[-1] = f"{last[:-1].rstrip()} {line.strip()}"
        elif last.endswith(("&&", "||", "|")):
            joined[-1] = f"{last} {line.strip()}"
        elif re.match(r"(\$ +| *)for ", last) and not last.endswith("done"):
            joined[-1] = f"{last}{'' if last.endswith(' do') else ';'} {line.strip()}"
        else:
            joined.append(line)
    return joined


def _is_command(line: str) -> bool:
    word = line.split()[0]
    return word.rpartition("/")[2] in _TOLD_INLINE or (word.isascii() and shutil.which(word) is not None)


def _within(page: str, heading: str, text: str) -> Iterator[Command]:
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        words = span.split()
        if len(words) > 1 and words[0] in _TOLD_INLINE and not words[1].startswith("="):
            yield Command(page, heading, " ".join(words), inline=True)
