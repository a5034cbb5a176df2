"""Traces of the version before families, recorded with it: they are replayed as they were decided.

`data/` holds three. `one-network`: the shipped EfficientNet-Lite0, which branches left its weights alone. `run`: the
same with a run, whose branches below half of the MACs ran with adapted weights. `scheduler`: a small network
whose adapter and content-aware scheduler were drawn, with answers reused and a second look; it was begun by a reload,
when the scheduler had looked last. Its frames took up to 390 ms on a busy box. It has no deadline, since what comes of
late frames has changed, and so has the forecast of whether a second look ends before the next frame: here, none does.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adainfd.replaying.decisions import Decision, recorded, replayed
from adainfd.replaying.report import differences, other_answers
from daemons import assert_refused

DATA = Path(__file__).parent / "data"
# How many frames are answered otherwise than they were.
TRACES = {"one-network": 0, "run": 0, "scheduler": 1}


def unpacked(name: str, folder: Path, change: Callable[[str], str] = lambda text: text) -> Path:
    trace = folder / f"{name}.trace"
    trace.write_text(change(gzip.decompress((DATA / f"{name}.trace.gz").read_bytes()).decode()))
    return trace


def branches_of(decisions: list[Decision]) -> set[str]:
    """All that ran."""
    looks = {decision.branch for decision in decisions if decision.branch is not None}
    return looks | {decision.second_look[1] for decision in decisions if decision.second_look is not None}


@pytest.mark.parametrize("name", TRACES)
def test_every_decision_is_made_again(name: str, tmp_path: Path, run: Any) -> None:
    trace = unpacked(name, tmp_path)
    checked = run("replay", trace, "--check")
    frames = trace.read_text().count('"kind":"frame"')
    assert (checked.returncode, checked.stderr) == (min(1, TRACES[name]), "")
    assert f"0 of {frames} budgets differ" in checked.stdout
    before, after = recorded(trace), replayed(trace, None)
    assert len(before.decisions) == frames
    assert differences(before, after) == []
    others = other_answers(before, after)
    assert len(others) == TRACES[name]
    assert all("then 32:111011011" in other and other.endswith("replayed the last answer") for other in others)
    assert before.broken == ()


@pytest.mark.parametrize(
    ("name", "ran"),
    [
        ("one-network", {"112:1101010010010001", "112:1111110110011101", "192:1111111111010111"}),
        (
            "run",
            {"adapted/112:1101010010010001", "adapted/112:1111110110011101", "192:1111111111010111"},
        ),
        ("scheduler", {"adapted/16:111111111", "adapted/32:111100000", "32:111011011"}),
    ],
)
def test_branches_that_ran_with_adapted_weights_are_those_of_the_adapted_network(
    name: str, ran: set[str], tmp_path: Path
) -> None:
    assert branches_of(recorded(unpacked(name, tmp_path)).decisions) == ran


def adapted_to_the_full_branch(text: str) -> str:
    """As recorded of a run whose adapter made the full branch better too."""
    head, *lines = text.splitlines()
    header = json.loads(head)
    (full,) = [measured for measured in header["profile"]["branches"] if measured["branch"] == "32:111111111"]
    full["weights"] = "adapted"
    return "\n".join([json.dumps(header), *lines])


def test_a_run_may_have_adapted_the_full_branch(tmp_path: Path, run: Any) -> None:
    checked = run("replay", unpacked("scheduler", tmp_path, adapted_to_the_full_branch), "--check")
    assert (checked.returncode, checked.stderr) == (1, "")  # as before: one second look
    assert "0 of 42 budgets differ" in checked.stdout


def changed(key: str, value: object) -> Callable[[str], str]:
    """The trace with something else in its profile."""

    def change(text: str) -> str:
        head, *lines = text.splitlines()
        header = json.loads(head)
        header["profile"][key] = value
        return "\n".join([json.dumps(header), *lines])

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(changed(key, value) for key in ("branches", "parts", "droppable", "timings") for value in (None, 7, ["x"])),
        changed("adapter", "7"),
        changed("native_resolution", 99),
        lambda text: text.replace('"weights":"adapted"', '"weights":"strange"', 1),
    ],
)
def test_a_damaged_profile_is_refused(change: Callable[[str], str], tmp_path: Path, run_forked: Any) -> None:
    trace = unpacked("scheduler", tmp_path, change)
    assert_refused(run_forked("replay", trace), 78, "scheduler.trace", "profile is damaged")
