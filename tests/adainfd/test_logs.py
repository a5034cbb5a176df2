"""Log lines that cannot be written hold up nobody, and are counted."""

import contextlib
import json
import os
import pty
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adainfd.base import logs
from adainfd.base.logs import LogLines


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """As on a disk with no more room than that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def told(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def terminal_that_is_gone() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


def pipe_that_is_closed() -> int:
    reads, writes = os.pipe()
    os.close(reads)
    return writes


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: os.open("/dev/full", os.O_WRONLY), "No space left on device"),
        (pipe_that_is_closed, "Broken pipe"),
        (terminal_that_is_gone, "Input/output error"),
    ],
)
def test_what_cannot_be_written_is_counted(made: Any, why: str) -> None:
    lines = LogLines(made())
    log = logs.configure(lines)
    for number in range(37):
        log.info("line", number=number)
        lines.retry()
    assert lines.hindrance == f"log lines cannot be written ({why}), 37 lost"
    assert lines.lost == {"log_lines": 37}


@pytest.mark.parametrize("room", [0, 40, 75, 200])
def test_a_full_disk_with_room_again(tmp_path: Path, room: int) -> None:
    """However much of a line fits, no line is half of one and half of another."""
    file = tmp_path / "log"
    with file.open("ab") as opened:
        lines = LogLines(opened.fileno())
        log = logs.configure(lines)
        log.info("before")
        with no_file_longer_than(file.stat().st_size + room):
            for number in range(5):
                log.info("while it is full", number=number)
            lines.retry()
            lost = lines.lost["log_lines"]
            assert "File too large" in str(lines.hindrance)
        log.info("after")
        assert lines.hindrance is None
        assert lines.lost == {"log_lines": lost}
    whole = told("\n".join(line for line in file.read_text().splitlines() if line.endswith("}")))
    assert [line["event"] for line in whole] == ["before"] + ["while it is full"] * (5 - lost) + [
        "log_lines_lost",
        "after",
    ]
    assert (whole[-2]["lost"], whole[-2]["why"]) == (lost, "File too large")


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_reader_that_does_not_read_for_a_while_misses_what_does_not_fit_and_is_told_how_much(kind: str) -> None:
    if kind == "pipe":
        reads, writes = os.pipe()
    elif kind == "socket":
        import socket

        reads, writes = (end.detach() for end in socket.socketpair())
    else:
        reads, writes = pty.openpty()
    lines = LogLines(writes)
    log = logs.configure(lines)
    long = "x" * 1000
    for number in range(3000):
        log.info("line", number=number, text=long)
    assert str(lines.hindrance).startswith("log lines cannot be written (nobody reads them), ")
    assert os.get_blocking(writes)
    os.set_blocking(reads, False)
    read = b""
    for _ in range(100_000):
        with contextlib.suppress(BlockingIOError):
            read += os.read(reads, 1 << 16)
        lines.retry()
        if lines.hindrance is None and not lines._waiting:
            break
    log.info("after")
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reads, 1 << 16):
            read += more
    lost = lines.lost["log_lines"]
    if kind == "terminal":
        assert read.count(b"line") >= 3000 - lost
        return
    found = told(read.decode())
    assert [line["number"] for line in found[:-2]] == list(range(3000 - lost))
    assert [line["event"] for line in found[-2:]] == ["log_lines_lost", "after"]
    assert found[-2]["lost"] == lost


def test_lines_of_any_text() -> None:
    reads, writes = os.pipe()
    log = logs.configure(LogLines(writes))
    log.info("a\udcffb", path=Path("/\udcff"))
    os.close(writes)
    assert told(os.read(reads, 1 << 16).decode())


def test_a_clients_public_key_can_be_read_whatever_it_looks_like() -> None:
    reads, writes = os.pipe()
    key = "lx:Yp:+BC-(XsQ29?*h?9#Pf0@-Zyf9zAJ$slZeL"
    logs.configure(LogLines(writes)).warning("client_refused", key=key, address=f"rtsp://{key}/cam")
    os.close(writes)
    [line] = told(os.read(reads, 1 << 16).decode())
    assert line["key"] == key
    assert "+BC-" not in line["address"]
