"""A trace on a disk that is full, a file that somebody else cuts, and what is read of it."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from adainfd.tracing.lines import Frame, Header, LastLook, LostLines, Remembered
from adainfd.tracing.reading import read
from adainfd.tracing.trace import TraceWriter
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.control import Budget, ControllerState, Signals

HEADER = Header(host="here", recorded_at=0.0, policy={}, profile={}, branches=(), times={})
LAST = LastLook(number=1, at=1.0, branch="8:11", macs=5, macs_fraction=0.5, expected_accuracy=0.5, looks_here=1)


def add(writer: TraceWriter, number: int) -> None:
    frame = Frame(
        camera="c",
        number=number,
        at=float(number),
        signals=Signals(),
        recognised=None,
        answer_age=None,
        budget=Budget(1.0, "maximum"),
        chosen_by="lookup",
        branch="8:11",
        forward_ms=1.0,
        around_ms=1.0,
    )
    writer.frame(frame, Remembered(camera="c", controller=ControllerState(at=number - 1.0), last=LAST))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def frames(path: Path) -> list[int]:
    _, lines = read(path)
    return [line.number for line in lines if isinstance(line, Frame)]


def gaps(path: Path) -> list[int]:
    _, lines = read(path)
    return [line.lost for line in lines if isinstance(line, LostLines)]


def test_a_trace_from_before_pictures_ran_together_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with TraceWriter(path, HEADER) as writer:
        add(writer, 1)
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert {key for line in lines for key in ("together", "expected_ms") if line.pop(key, 0) != 0} == {
        "together",
        "expected_ms",
    }
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    header, rest = read(path)
    assert header.together == {}
    assert [line.expected_ms for line in rest if isinstance(line, Frame)] == [None]


def test_a_trace_from_before_branches_rested_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with TraceWriter(path, HEADER) as writer:
        add(writer, 1)
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    new = {"settled", "barred_above", "barred_until", "trying"}
    (state,) = (line["controller"] for line in lines if "controller" in line)
    assert new < state.keys()
    for key in new:
        del state[key]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    _, rest = read(path)
    assert [line.controller for line in rest if isinstance(line, Remembered)] == [ControllerState(at=0.0)]


@given(room=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 900)), max_size=6))
def test_all_lines_are_there_or_counted_wherever_the_disk_is_full(
    tmp_path_factory: pytest.TempPathFactory, room: list[tuple[int, int]]
) -> None:
    path, clock, written = tmp_path_factory.mktemp("t") / "t", Clock(), os.write
    with pytest.MonkeyPatch.context() as patch:
        left = [1 << 30]

        def write(descriptor: int, data: bytes) -> int:
            if not left[0]:
                raise OSError(28, "No space left on device")
            count = written(descriptor, data[: left[0]])
            left[0] -= count
            return count

        patch.setattr(os, "write", write)
        number = 0
        with TraceWriter(path, HEADER, clock=clock) as writer:
            for count, more in [*room, (3, 1 << 30)]:
                for _ in range(count):
                    number += 1
                    clock.now += 2.0
                    add(writer, number)
                left[0] = more
            assert writer.problem is None or writer.lost
            in_all = writer
    assert len(frames(path)) + sum(gaps(path)) == number
    assert sum(gaps(path)) == in_all.lost_in_all
    assert all(line.startswith("{") and line.endswith("}") for line in path.read_text().splitlines())


def test_what_was_remembered_of_a_view_stands_before_its_first_frame_of_each_part(tmp_path: Path) -> None:
    path = tmp_path / "t"
    for number in (1, 3):
        with TraceWriter(path, HEADER, append=True) as writer:
            add(writer, number)
            add(writer, number + 1)
    _, lines = read(path)
    kinds = [type(line).__name__ for line in lines]
    assert kinds == ["Remembered", "Frame", "Frame", "Header", "Remembered", "Frame", "Frame"]
    assert frames(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("cut", ["emptied", "shortened", "deleted"])
def test_a_file_that_somebody_else_cuts_begins_anew(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "t"
    with TraceWriter(path, HEADER) as writer:
        for number in range(1, 4):
            add(writer, number)
        if cut == "deleted":
            path.unlink()
        else:
            os.truncate(path, 0 if cut == "emptied" else path.stat().st_size - 20)
        add(writer, 4)
        add(writer, 5)
    assert frames(path)[-2:] == [4, 5]
    assert b"\0" not in path.read_bytes()


def test_it_ends_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with TraceWriter(path, HEADER, limit=2100) as writer:
        for number in range(1, 100):
            add(writer, number)
        assert writer.full
        assert writer.lost_in_all == 0
    assert path.stat().st_size <= 2100
    assert frames(path) == list(range(1, len(frames(path)) + 1))
    with TraceWriter(path, HEADER, append=True, limit=2100) as writer:
        assert writer.full


def test_a_pipe_is_waited_for_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "t"
    os.mkfifo(path)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        TraceWriter(path, HEADER)
    reads = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with TraceWriter(path, HEADER) as writer:
        for number in range(1, 2000):
            add(writer, number)
        assert writer.problem == "Resource temporarily unavailable"
        os.close(reads)
        writer._retry_at = 0.0
        add(writer, 2000)
        assert writer.problem == "Broken pipe"


@pytest.mark.parametrize("there", ["[budget]\nmaximum = 0.5\n", "a", "{}\n"])
@pytest.mark.parametrize("append", [True, False])
def test_another_file_is_left_as_it_is(tmp_path: Path, there: str, append: bool) -> None:
    (tmp_path / "mine.toml").write_text(there)
    with pytest.raises(InvalidInputError, match="is no trace"):
        TraceWriter(tmp_path / "mine.toml", HEADER, append=append)
    assert (tmp_path / "mine.toml").read_text() == there


def test_a_trace_that_a_crash_cut_short_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with TraceWriter(path, HEADER) as writer:
        add(writer, 1)
        add(writer, 2)
    path.write_bytes(path.read_bytes()[:-30])
    with TraceWriter(path, HEADER, append=True) as writer:
        add(writer, 3)
    assert frames(path) == [1, 3]
    _, lines = read(path)
    broken: list[Any] = [line for line in lines if isinstance(line, str)]
    assert len(broken) == 1
    assert "breaks off at line 4" in broken[0]


def test_a_trace_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with TraceWriter(path, HEADER):
        before = path.read_bytes()
        for append in (True, False):
            with pytest.raises(InvalidInputError, match="another daemon records there"):
                TraceWriter(path, HEADER, append=append)
            assert path.read_bytes() == before != b""
    with TraceWriter(path, HEADER, append=True) as again:
        assert again.found
    with TraceWriter(path, HEADER):
        assert path.read_bytes().count(b"header") == 1
