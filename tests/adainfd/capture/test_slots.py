import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from adainfd.capture.exchange.attempts import attempts_memory
from adainfd.capture.exchange.memory import sealed_content
from adainfd.capture.exchange.slots import FrameSlots, frames_memory
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPE = (6, 8, 3)
PIXELS = 2000


@contextmanager
def both_sides() -> Iterator[tuple[FrameSlots, FrameSlots]]:
    descriptor = frames_memory(PIXELS)
    writer, reader = FrameSlots(descriptor, PIXELS, SHAPE), FrameSlots(descriptor, PIXELS, SHAPE)
    os.close(descriptor)
    try:
        yield writer, reader
    finally:
        reader.close()
        writer.close()


@pytest.fixture
def two_sides() -> Iterator[tuple[FrameSlots, FrameSlots]]:
    with both_sides() as sides:
        yield sides


def picture(number: int) -> np.ndarray:
    return np.full(SHAPE, number % 251, np.uint8)


@settings(max_examples=50)
@given(first=st.integers(1, 10_000), written=st.integers(1, 12))
def test_what_holds_says_is_true(first: int, written: int) -> None:
    last = first + written - 1
    with both_sides() as (writer, reader):
        for number in range(first, last + 1):
            writer.write(number, picture(number))
        for number in range(first, last + 3):
            assert reader.holds(number) == (max(first, last - 3) <= number <= last)
            if reader.holds(number):
                assert np.array_equal(reader.view(number), picture(number))


def test_a_slot_holds_nothing_while_it_is_filled(two_sides: tuple[FrameSlots, FrameSlots]) -> None:
    writer, reader = two_sides
    writer.write(1, picture(1))
    slot = writer.emptied(5)
    assert not reader.holds(1)
    assert not reader.holds(5)
    slot[:] = picture(5)
    writer.filled(5)
    assert reader.holds(5)
    assert np.array_equal(reader.view(5), picture(5))
    del slot


def test_overwriting_while_reading_is_noticed(two_sides: tuple[FrameSlots, FrameSlots]) -> None:
    writer, reader = two_sides
    writer.write(1, picture(1))
    view = reader.view(1)
    for number in range(2, 5):
        writer.write(number, picture(number))
    assert reader.holds(1)
    assert view.max() == 1
    writer.write(5, picture(5))
    assert not reader.holds(1)
    del view


def test_reader_keeps_what_a_writer_that_is_gone_has_written() -> None:
    descriptor = frames_memory(PIXELS)
    reader, writer = FrameSlots(descriptor, PIXELS, SHAPE), FrameSlots(descriptor, PIXELS, SHAPE)
    os.close(descriptor)
    writer.write(1, picture(9))
    writer.close()
    assert reader.view(1).max() == 9
    reader.close()


def test_another_shape_empties_the_slots(two_sides: tuple[FrameSlots, FrameSlots]) -> None:
    writer, reader = two_sides
    writer.write(1, picture(9))
    writer.fit((40, 50, 3))
    assert not reader.holds(1)
    reader.shape = writer.shape
    for number in range(2, 6):
        writer.write(number, np.full(writer.shape, number, np.uint8))
    assert [reader.view(number).tolist() == np.full((40, 50, 3), number).tolist() for number in range(2, 6)] == [
        True
    ] * 4


def test_no_process_changes_the_size_of_the_memory() -> None:
    """The daemon would end at its next access."""
    for descriptor in (frames_memory(PIXELS), attempts_memory(), sealed_content("settings", b"secret")):
        size = os.fstat(descriptor).st_size
        for other in (0, size - 1, size + 4096):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, other)
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        os.close(descriptor)


def test_slots_that_do_not_fit_leave_nothing_open() -> None:
    def opened() -> list[str]:
        return sorted(file.name for file in Path("/proc/self/fd").iterdir())

    before = opened()
    descriptor = frames_memory(2**45)
    with pytest.raises(OSError, match=r"memory|large"):
        FrameSlots(descriptor, 2**45)
    os.close(descriptor)
    assert opened() == before
