"""Texts that do something to a terminal, terminals to show them on, and what may be written to one."""

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["HOSTILE", "Terminal", "assert_harmless", "obeyed"]

HOSTILE = {
    "colour": "\x1b[97;45mPWN",
    "title": "\x1b]0;PWN\x07",
    "link": "\x1b]8;;http://x.example/\x1b\\PWN\x1b]8;;\x1b\\",
    "screen": "\x1b[2J\x1b[HPWN\x1b[?1049l\x1bc",
    "c1": "\x9b97;45mPWN\x9d0;PWN\x9c",
    "bidi": "a\u202eNWP\u2066b\u2069\u200f",
    "hidden": "a\u200b\ufeffb\u3164\ufe0f\U000e0041\xad",
    "marks": "a" + "\u0301\u20dd" * 150,
    "lines": "a\r\nPWN\x0b\x85\u2028PWN\x08\x7f",
    "surrogate": "caf\udce9\ud800",
    "markup": "[red]PWN[/red][link=http://x]y[/link][/] :smile:",
    "long": "PWN" * 5000,
}

# What rich writes itself: styles, cursor, erasing, the alternate screen.
_OF_RICH = re.compile(r"\x1b\[(?:[0-9;]*m|H|[0-9]*[A-KJ]|\?(?:25|1049)[hl])")


def obeyed(written: str) -> set[str]:
    """The sequences of rich's kind in what was written to a terminal."""
    return set(_OF_RICH.findall(written))


def assert_harmless(written: str, longest: int = 5000) -> None:
    """What was written to a terminal holds nothing but rich's own sequences, line ends, and text that shows itself.

    longest: of a word, in characters.
    """
    for text in HOSTILE.values():
        assert text.isprintable() or text not in written
    rest = _OF_RICH.sub("", written).replace("\r", "").replace("\n", "")
    acting = [letter for letter in rest if letter != " " and unicodedata.category(letter)[0] in "CZ"]
    assert not acting, f"{acting[:9]} in {rest!r}"
    assert not re.search("[\u0300-\u036f\u20d0-\u20ff]{5}", rest), "many marks on one letter"
    assert not re.search("[\u3164\ufe0f]", rest), "letters that show nothing"
    assert len(max(rest.split(" "), key=len)) <= longest, "a text without an end"


class Terminal:
    """A program on a terminal of its own, 240 columns wide."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (50, 240))
        environment = {**environment, "TERM": "xterm", "COLUMNS": "240", "LINES": "50", "NO_COLOR": ""}
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._read = b""

    @property
    def written(self) -> str:
        """All that was written to it until now."""
        with contextlib.suppress(OSError):  # the program has ended
            while select.select([self._ours], [], [], 0)[0]:
                self._read += os.read(self._ours, 1 << 16)
        return self._read.decode("utf-8", "surrogateescape")

    def until(self, holds: Callable[[str], bool], seconds: float) -> str:
        """What was written to it, as soon as `holds` says so of it."""
        end = time.monotonic() + seconds
        while not holds(written := self.written):
            assert time.monotonic() < end, written[-3000:]
            time.sleep(0.02)
        return written

    def ended(self, seconds: float) -> str:
        """What was written to it when the program has ended."""
        return self.until(lambda _: self.process.poll() is not None, seconds) and self.written

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
