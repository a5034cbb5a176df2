"""What attacks on the ZeroMQ and HTTP ports cost a running daemon: in answers, in memory, and whether that comes back.

    python benchmarks/attacks.py [NAME …] [--seconds 10] [--write]

Each attack runs in a process of its own for so long, beside a daemon with one camera that loops over a clip. To add
one, write a function that takes an endpoint and the monotonic time at which it ends, and name it in ATTACKS; those on
HTTP, which take an address, stand in attacks_http.py.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import attacks_http
from adainfd.demo import demo_clip
from soak import Watch, daemon
from tables import Figure, Table, finish, limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import strangers
from daemons import free_port
from strangers import MORE, SUBSCRIBE, UNSUBSCRIBE, again_and_again, frame

_PAGE = "publishing.md"
_FPS = 10
_FEWER_ANSWERS, _MORE_MEMORY = 2.0, 10.0

Attack = Callable[[str, float], None]


def _flood(what: bytes, endpoint: str, until: float) -> None:
    """A reader sends it again and again, and comes back whenever it is hung up on."""

    def attempt() -> None:
        with strangers.subscriber(endpoint) as stranger:
            while time.monotonic() < until:
                stranger.sendall(what)

    again_and_again(attempt, until)


def come_and_go(endpoint: str, until: float) -> None:
    """Readers connect, subscribe to all, and leave."""

    def attempt() -> None:
        with strangers.subscriber(endpoint) as stranger:
            stranger.sendall(frame(SUBSCRIBE))

    again_and_again(attempt, until)


def never_read(endpoint: str, until: float) -> None:
    """As many readers as come in subscribe to all, and take nothing in."""
    with_all: list[object] = []

    def attempt() -> None:
        stranger = strangers.subscriber(endpoint)
        stranger.sendall(frame(SUBSCRIBE))
        with_all.append(stranger)
        time.sleep(0.02)

    again_and_again(attempt, until)


def half_open(said: bytes, endpoint: str, until: float) -> None:
    """Connections are opened as fast as that goes, say so much, and wait."""
    open_: list[object] = []

    def attempt() -> None:
        stranger = strangers.connected(endpoint, 0.5)
        stranger.sendall(said)
        open_.append(stranger)
        del open_[:-2000]

    again_and_again(attempt, until)


def noise(endpoint: str, until: float) -> None:
    """Random bytes, with and without a greeting before them."""
    random_ = random.Random(0)  # noqa: S311

    def attempt() -> None:
        with strangers.connected(endpoint) as stranger:
            stranger.sendall(strangers.greeting()[: random_.choice([0, 11, 64])] + random_.randbytes(300))

    again_and_again(attempt, until)


def _topics(length: int) -> bytes:
    return b"".join(frame(SUBSCRIBE + (b"%08d" % number).ljust(length)) for number in range(10_000))


_TURNS = frame(SUBSCRIBE + b"status/") + frame(UNSUBSCRIBE + b"status/")
ATTACKS: dict[str, Attack] = {
    "10,000 topics of 4,000 bytes": partial(_flood, _topics(4000)),
    "10,000 topics of 200 bytes": partial(_flood, _topics(200)),
    "10,000 topics of 20 bytes": partial(_flood, _topics(20)),
    "one topic again and again": partial(_flood, frame(SUBSCRIBE + b"result/") * 1000),
    "subscribe and unsubscribe": partial(_flood, _TURNS * 500),
    "a message without an end": partial(_flood, frame(SUBSCRIBE + b"x" * 200, MORE) * 300),
    "messages of its own": partial(_flood, frame(b"result/here/door") * 1000),
    "come and go": come_and_go,
    "never read": never_read,
    "connect and say nothing": partial(half_open, b""),
    "connect and say half a greeting": partial(half_open, strangers.greeting()[:11]),
    "random bytes": noise,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers a second, and megabytes: before, meanwhile (the most memory), and afterwards; connections closed."""

    answered: tuple[float, float, float]
    memory: tuple[float, float, float]
    hung_up: int


def attacked(watch: Watch, attack: Callable[[float], None], seconds: float, usual: float) -> Outcome:
    """Run an attack for so long beside the daemon. usual: megabytes that it has without any attack."""
    before, memory, _ = _measured(watch, seconds)
    closed = watch.hung_up
    spawn = multiprocessing.get_context("fork")
    attacker = spawn.Process(target=_from_afar, args=(attack, time.monotonic() + seconds))
    attacker.start()
    meanwhile, _, peak = _measured(watch, seconds)
    attacker.join(5)
    attacker.kill()
    watch.run(6.0)  # what was freed is given back
    after, left, _ = _measured(watch, seconds / 2)
    return Outcome((before, meanwhile, after), (max(memory, usual), peak, left), watch.hung_up - closed)


def _from_afar(attack: Callable[[float], None], until: float) -> None:
    """An attacker on another machine would take no processor of this one."""
    os.nice(19)
    attack(until)


def _measured(watch: Watch, seconds: float) -> tuple[float, float, float]:
    """Answers a second for so long; the memory at the end of that, and the most."""
    begun, before, most = time.monotonic(), sum(watch.results.values()), 0.0
    while time.monotonic() < begun + seconds:
        watch.run(0.2)
        most = max(most, last := watch.resident())
    return (sum(watch.results.values()) - before) / (time.monotonic() - begun), last, most


def _tables(outcomes: dict[str, Outcome]) -> list[Table]:
    rows: list[tuple[str, ...]] = [
        (
            name,
            *(f"{rate:.2f}" for rate in outcome.answered),
            *(f"{size:.1f}" for size in outcome.memory),
            str(outcome.hung_up),
        )
        for name, outcome in outcomes.items()
    ]
    headings = (
        "attack",
        "answered a second",
        "meanwhile",
        "afterwards",
        "memory, MB",
        "at most",
        "afterwards",
        "closed",
    )
    figures: list[Figure] = []
    for name, outcome in outcomes.items():
        fewer = 100 * (1 - outcome.answered[1] / outcome.answered[0])
        figures.append(Figure(f"{name}: fewer answers, %", fewer, _FEWER_ANSWERS))
        figures.append(Figure(f"{name}: memory grows by, MB", outcome.memory[1] - outcome.memory[0], _MORE_MEMORY))
    return [Table("Attacks", headings, rows), limits(figures)]


def figures(seconds: float, names: list[str]) -> list[Table]:
    """Run attacks, one after the other, at one daemon."""
    endpoint, address = f"tcp://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    attacks = {name: partial(attack, endpoint) for name, attack in ATTACKS.items()}
    attacks |= {name: partial(attack, address) for name, attack in attacks_http.ATTACKS.items()}
    with tempfile.TemporaryDirectory() as folder:
        camera = f'name = "door"\nsource = "{demo_clip()}"\nloop = true\nfps = {_FPS}'
        web = f'[web]\nbind = "{address}"\npictures = ["door"]'
        with daemon(Path(folder), [f"{camera}\n{web}"], endpoint) as watch:
            watch.run(10.0)  # the start has settled
            usual = watch.resident()
            return _tables({name: attacked(watch, attacks[name], seconds, usual) for name in names})


def main() -> int:
    """Measure, print, and write the tables where asked; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*ATTACKS, *attacks_http.ATTACKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of attacks: {'; '.join(known)}")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    tables = figures(arguments.seconds, arguments.names or known)
    return finish("attacks.py", tables, _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
