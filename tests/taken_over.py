"""Run instead of a camera's process: one that was taken over. Its first argument names the attack."""

import array
import contextlib
import mmap
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

SKETCH = bytes(54 * 96)


class Steal:
    """Unpickled, it writes the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path(self.path), "taken")


class Attacker:
    """The descriptors of a camera's process, and what it may do with them."""

    def __init__(self, loot: str, settings: int, frames: int, attempts: int, commands: int, reports: int) -> None:
        self.loot, self.settings, self.frames, self.attempts = loot, settings, frames, attempts
        self.commands, self.reports = commands, reports
        with mmap.mmap(settings, 0, prot=mmap.PROT_READ) as content:
            self.before = msgspec.msgpack.decode(content[:])["before"]

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.reports, data) :]

    def say(self, *message: object) -> None:
        data = msgspec.msgpack.encode(message)
        self.write(len(data).to_bytes(4, "little") + data)

    def again(self, times: int, *message: object) -> None:
        for _ in range(times):
            self.say(*message)

    def opened(self) -> None:
        self.say("Opened", [48, 64, 3], 0.0)
        os.read(self.commands, 100)

    def deliver(self, number: int = 1, at: float | None = None, motions: Any = (None,), sketch: Any = SKETCH) -> None:
        at = time.monotonic() if at is None else at
        self.say("Delivered", self.before + number, at, motions, sketch)

    def wait(self) -> None:
        time.sleep(60)


def a_pickle(attacker: Attacker) -> None:
    data = pickle.dumps(Steal(attacker.loot))
    attacker.write(len(data).to_bytes(4, "little") + data)
    attacker.write(len(data).to_bytes(4, "big") + data)  # as multiprocessing has it


def eight_bytes(attacker: Attacker) -> None:
    attacker.write(b"\xff" * 8)


def endless_passed(attacker: Attacker) -> None:
    attacker.opened()
    while True:
        attacker.say("Passed", 0, 0, 0)


def single_bytes(attacker: Attacker) -> None:
    attacker.write((16000).to_bytes(4, "little"))
    while True:
        attacker.write(b"\xc0")


def shrunk_memory(attacker: Attacker) -> None:
    """All that makes the daemon's next access of its memory fail; where nothing does, honest frames come."""
    for descriptor in (attacker.frames, attacker.attempts, attacker.settings):
        for size in (1 << 40, 4096, 0):
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
    with contextlib.suppress(ValueError):  # nothing is left of it
        with mmap.mmap(attacker.frames, 0) as memory:
            memory.madvise(mmap.MADV_REMOVE, 0, len(memory))
        with mmap.mmap(attacker.attempts, 0) as memory:
            memory[:] = b"\xff" * len(memory)
    attacker.opened()
    for number in range(1, 4):
        attacker.deliver(number)
    os._exit(3)


def hostile_counts(attacker: Attacker) -> None:
    with mmap.mmap(attacker.attempts, 0) as memory:
        memory[:24] = array.array("q", [-(2**63), 2**63 - 1, -1]).tobytes()
        memory[24:28] = b"\xff\xff\xff\xff"
        memory[28:60] = b"\x1b[31m\n{forged}\x00\xff\xfe" + bytes(15)
    os._exit(3)


def descriptors(attacker: Attacker) -> None:
    """Neither pipe takes descriptors; nor is there a socket to send them over."""
    for descriptor in (attacker.commands, attacker.reports):
        with contextlib.suppress(OSError):
            over = socket.socket(fileno=os.dup(descriptor))
            socket.send_fds(over, [b"\x05\0\0\0xxxxx"], [0, 1, 2])
    eight_bytes(attacker)


def deaf(attacker: Attacker) -> None:
    """It reads no command, and is lost again and again."""
    while True:
        attacker.say("Lost", "stream_lost", "gone")
        time.sleep(0.01)


def many_threads(attacker: Attacker) -> None:
    """Nothing that it says is wrong."""
    attacker.opened()
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    while True:
        attacker.say("Passed", 0, 0, 0)
        time.sleep(0.05)


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    attack.__name__: attack
    for attack in (
        *(
            a_pickle,
            eight_bytes,
            endless_passed,
            single_bytes,
            shrunk_memory,
            hostile_counts,
            descriptors,
            deaf,
            many_threads,
        ),
    )
}

WRONG: dict[str, Callable[[Attacker], None]] = {
    "frame before Opened": lambda it: it.deliver(),
    "giant": lambda it: it.say("Opened", [60000, 60000, 3], 0.0),
    "no side": lambda it: it.say("Opened", [0, 64, 3], 0.0),
    "negative side": lambda it: it.say("Opened", [-48, 64, 3], 0.0),
    "grey": lambda it: it.say("Opened", [48, 64, 1], 0.0),
    "interval that is no number": lambda it: it.say("Opened", [48, 64, 3], float("nan")),
    "endless interval": lambda it: it.say("Opened", [48, 64, 3], float("inf")),
    "number goes back": lambda it: (it.opened(), it.deliver(0))[0],
    "number jumps": lambda it: (it.opened(), it.deliver(1000))[0],
    "from the future": lambda it: (it.opened(), it.deliver(at=time.monotonic() + 3600))[0],
    "from the past": lambda it: (it.opened(), it.deliver(at=1.0))[0],
    "at no time": lambda it: (it.opened(), it.deliver(at=float("nan")))[0],
    "motion that is no number": lambda it: (it.opened(), it.deliver(motions=[float("nan")]))[0],
    "too much motion": lambda it: (it.opened(), it.deliver(motions=[1.5]))[0],
    "motion of other parts": lambda it: (it.opened(), it.deliver(motions=[0.5] * 3))[0],
    "no motion": lambda it: (it.opened(), it.deliver(motions=[]))[0],
    "short sketch": lambda it: (it.opened(), it.deliver(sketch=SKETCH[1:]))[0],
    "long sketch": lambda it: (it.opened(), it.deliver(sketch=SKETCH * 2))[0],
    "sketch of text": lambda it: (it.opened(), it.deliver(sketch="x" * len(SKETCH)))[0],
    "negative count": lambda it: it.say("Passed", 0, 0, -1),
    "huge count": lambda it: it.say("Passed", 0, 0, 2**62),
    "escape code": lambda it: it.say("Named", "\x1b[2J", "x"),
    "two lines": lambda it: it.say("Lost", "stream_lost", 'a\n{"event": "forged"}'),
    "long text": lambda it: it.say("Lost", "stream_lost", "x" * 10000),
    "unknown fault": lambda it: it.say("Lost", "no_such_fault", "x"),
    "lost twice": lambda it: it.again(2, "Lost", "stream_lost", "x"),
    "broke off twice": lambda it: it.again(2, "BrokeOff", "x"),
    "names without end": lambda it: it.again(200, "Named", "y", "x"),
    "unconfined too late": lambda it: (it.opened(), it.say("Unconfined", ["files: x"]))[0],
    "unconfined twice": lambda it: it.again(2, "Unconfined", ["files: x"]),
    "unconfined without end": lambda it: it.say("Unconfined", ["x"] * 1000),
    "unconfined, and forged": lambda it: it.say("Unconfined", ['a\n{"event": "forged"}']),
    "unknown message": lambda it: it.say("Exec", "rm -rf"),
    "too many fields": lambda it: it.say("Ended", 1, 2, 3),
    "deeply nested": lambda it: it.write((10005).to_bytes(4, "little") + b"\x92\xa5Ended" + b"\x91" * 9998),
    "text that is no UTF-8": lambda it: it.write(b"\x0c\0\0\0\x92\xa8BrokeOff\xa1\xff"),
    "empty message": lambda it: it.write(b"\0\0\0\0"),
    "message of 4 GB": lambda it: it.write(b"\xff\xff\xff\xff"),
}


def main() -> None:
    attack, loot, *given = sys.argv[1:]
    attacker = Attacker(loot, *map(int, given))
    with contextlib.suppress(BrokenPipeError):
        (ATTACKS | WRONG)[attack](attacker)
    attacker.wait()


if __name__ == "__main__":
    main()
