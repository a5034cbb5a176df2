"""Traces whose profile is of the first version: their lines name branches without a network."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from adainf.profile import version1
from adainf.profile.version1 import ADAPTED
from adainfd.tracing.lines import Frame, Header, LastLook, Line, Prepared, Remembered

__all__ = ["Upgrade"]


class Upgrade:
    """Gives the branches of a trace's lines the names that they have in its upgraded profile."""

    def __init__(self) -> None:
        self._adapted: frozenset[str] = frozenset()
        self._scheduler_is_adapted = False

    def line(self, line: Line) -> Line:
        """Return a line as this version writes it."""
        match line:
            case Header():
                return self.header(line)
            case Prepared() if self._adapted:
                return replace(line, **self._named(line))
            case Frame() if self._adapted or self._scheduler_is_adapted:
                second = line.second_look
                by_scheduler = line.chosen_by == "scheduler" and self._scheduler_is_adapted
                return replace(
                    line,
                    branch=f"{ADAPTED}/{line.branch}" if by_scheduler else self._name(line.branch),
                    second_look=None if second is None else replace(second, branch=self._name(second.branch)),
                )
            case Remembered(last=LastLook(weights=version1.ADAPTED) as last):
                return replace(line, last=replace(last, branch=f"{ADAPTED}/{last.branch}", weights="base"))
        return line

    def header(self, header: Header) -> Header:
        """Return a header as this version writes it; it decides about the lines that follow it."""
        if header.profile.get("schema") != version1.SCHEMA:
            self._adapted, self._scheduler_is_adapted = frozenset(), False
            return header
        profile = version1.upgraded(_with_the_full_branch(header.profile))
        self._adapted = frozenset(version1.adapted_paths(header.profile))
        self._scheduler_is_adapted = header.profile.get("adapter") is not None
        return replace(header, profile=profile, **self._named(header))

    def _named(self, line: Header | Prepared) -> dict[str, object]:
        return {
            "branches": tuple(map(self._name, line.branches)),
            "times": _renamed(line.times, self._name),
            "together": {pictures: _renamed(times, self._name) for pictures, times in line.together.items()},
        }

    def _name(self, branch: str) -> str:
        return f"{ADAPTED}/{branch}" if branch in self._adapted else branch


def _with_the_full_branch(old: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a profile that has the reference's full branch, even if the adapted one had replaced it.

    Traces leave out what a profile has set aside. The branch is not among those that were ready, so it never runs.
    """
    every = old.get("branches")
    full = f"{old.get('native_resolution')}:{'1' * len(str(old.get('droppable')))}"
    for measured in every if isinstance(every, list) else ():
        if isinstance(measured, Mapping) and (measured.get("branch"), measured.get("weights")) == (full, ADAPTED):
            return {**old, "set_aside": [{**measured, "weights": "base", "agreement": 1.0}]}
    return old


def _renamed(times: Mapping[str, float], name: Callable[[str], str]) -> dict[str, float]:
    return {name(branch): time for branch, time in times.items()}
