"""What attacks on the ZeroMQ and HTTP ports cost a running daemon: in answers, in memory, and whether that comes back.

    python benchmarks/attacks.py [NAME …] [--seconds 10] [--write]

Each attack runs in a process of its own for so long, beside a daemon with one camera that loops over a clip. To add
one, write a function that takes an endpoint and the monotonic time at which it ends, and name it in ATTACKS, or in
those of attacks_http.py.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import attacks_http
from adainfd.client import Subscriber
from adainfd.terminal.demo import demo_clip
from soak import Watch, daemon, is_an_answer
from tables import Figure, Table, finish, limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import strangers
from daemons import free_port
from strangers import MORE, SUBSCRIBE, UNSUBSCRIBE, again_and_again, frame

_PAGE = "publishing.md"
_FPS = 10
# Limits: the loss in per cent of the answers without an attack, and megabytes.
_FEWER, _MEMORY = 2.0, 10.0
_NONE = "no attack"
_SETTLES_SECONDS, _BACK_WITHIN_SECONDS = 1.0, 12.0

Attack = Callable[[str, float], None]


def _flood(what: bytes, endpoint: str, until: float) -> None:
    """Send `what` repeatedly as a subscriber, reconnecting whenever the daemon closes the connection."""

    def attempt() -> None:
        with strangers.subscriber(endpoint) as stranger:
            while time.monotonic() < until:
                stranger.sendall(what)

    again_and_again(attempt, until)


def come_and_go(endpoint: str, until: float) -> None:
    """Connect subscribers that subscribe to everything and leave."""

    def attempt() -> None:
        with strangers.subscriber(endpoint) as stranger:
            stranger.sendall(frame(SUBSCRIBE))

    again_and_again(attempt, until)


def never_read(endpoint: str, until: float) -> None:
    """Connect as many subscribers as the daemon accepts; each subscribes to everything and never reads."""
    kept_open: list[object] = []

    def attempt() -> None:
        stranger = strangers.subscriber(endpoint)
        stranger.sendall(frame(SUBSCRIBE))
        kept_open.append(stranger)
        time.sleep(0.02)

    again_and_again(attempt, until)


def many_topics(endpoint: str, until: float) -> None:
    """Connect and drop subscribers, each with as many topics as it may have, none of them used twice."""
    connected: list[socket.socket] = []
    topics = itertools.count()

    def attempt() -> None:
        stranger = strangers.subscriber(endpoint)
        connected.append(stranger)
        stranger.sendall(b"".join(frame(SUBSCRIBE + b"%056d" % next(topics)) for _ in range(250)))
        if len(connected) > 100:
            connected.pop(0).close()
        time.sleep(0.005)

    again_and_again(attempt, until)


def half_open(said: bytes, endpoint: str, until: float) -> None:
    """Open connections as fast as possible; each sends `said` and then waits."""
    open_: list[object] = []

    def attempt() -> None:
        stranger = strangers.connected(endpoint, 0.5)
        stranger.sendall(said)
        open_.append(stranger)
        del open_[:-2000]

    again_and_again(attempt, until)


def noise(endpoint: str, until: float) -> None:
    """Send random bytes, with and without a preceding greeting."""
    random_ = random.Random(0)  # noqa: S311

    def attempt() -> None:
        with strangers.connected(endpoint) as stranger:
            stranger.sendall(strangers.greeting()[: random_.choice([0, 11, 64])] + random_.randbytes(300))

    again_and_again(attempt, until)


def _topics(length: int) -> bytes:
    return b"".join(frame(SUBSCRIBE + (b"%08d" % number).ljust(length)) for number in range(10_000))


_TURNS = frame(SUBSCRIBE + b"status/") + frame(UNSUBSCRIBE + b"status/")
ATTACKS: dict[str, Attack] = {
    _NONE: lambda _, until: time.sleep(until - time.monotonic()),
    "10,000 topics of 4,000 bytes": partial(_flood, _topics(4000)),
    "10,000 topics of 200 bytes": partial(_flood, _topics(200)),
    "10,000 topics of 20 bytes": partial(_flood, _topics(20)),
    "one topic again and again": partial(_flood, frame(SUBSCRIBE + b"result/") * 1000),
    "subscribe and unsubscribe": partial(_flood, _TURNS * 500),
    "a message without an end": partial(_flood, frame(SUBSCRIBE + b"x" * 200, MORE) * 300),
    "messages of its own": partial(_flood, frame(b"result/here/door") * 1000),
    "come and go": come_and_go,
    "never read": never_read,
    "250 topics of each reader": many_topics,
    "connect and say nothing": partial(half_open, b""),
    "connect and say half a greeting": partial(half_open, strangers.greeting()[:11]),
    "random bytes": noise,
}
ALL = ATTACKS | attacks_http.ATTACKS


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attack.

    answered, heard: shares of the due frames that the daemon answered, and that a subscriber received which was
    connected to the port before. memory: megabytes before, at the peak, and afterwards. hung_up: connections closed by
    the daemon.
    """

    answered: float
    heard: float
    memory: tuple[float, float, float]
    hung_up: int


@dataclass(frozen=True, slots=True)
class Bench:
    """A running daemon.

    port: an ordinary subscriber at the attacked port. heard_at: its frames' capture times.
    """

    watch: Watch
    port: Subscriber
    heard_at: list[float]

    def run(self, seconds: float) -> float:
        """Receive messages for `seconds`; return the peak memory in megabytes."""
        end, most = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            self.watch.run(min(0.2, max(0.0, end - time.monotonic())))
            while (message := self.port.receive(0)) is not None:
                if is_an_answer(message):
                    self.heard_at.append(message.captured_at)
            most = max(most, self.watch.resident())
        return most


def attacked(bench: Bench, attack: Attack, address: str, seconds: float) -> Outcome:
    """Run an attack for `seconds` beside the daemon."""
    bench.run(_SETTLES_SECONDS)
    watch = bench.watch
    before, closed, begun = watch.resident(), watch.hung_up, time.time()
    spawn = multiprocessing.get_context("fork")
    attacker = spawn.Process(target=_from_afar, args=(attack, address, time.monotonic() + seconds))
    attacker.start()
    peak = bench.run(seconds)
    attacker.join(5)
    attacker.kill()
    left = _afterwards(bench, before)
    answered, heard = (
        sum(begun <= at < begun + seconds for at in times) / (_FPS * seconds)
        for times in (watch.captured_at, bench.heard_at)
    )
    return Outcome(answered, heard, (before, peak, left), watch.hung_up - closed)


def _afterwards(bench: Bench, before: float) -> float:
    """Return the megabytes once memory has fallen back to `before`, or after 12 seconds."""
    end = time.monotonic() + _BACK_WITHIN_SECONDS
    while (left := bench.run(1.0)) > before + 1 and time.monotonic() < end:
        pass
    return left


def _from_afar(attack: Attack, address: str, until: float) -> None:
    """Run the attack at the lowest CPU priority: an attacker on another machine would take no CPU of this one."""
    os.nice(19)
    attack(address, until)


def _tables(outcomes: dict[str, Outcome]) -> list[Table]:
    headings = ("attack", "answered", "heard at the port", "memory, MB", "at most", "afterwards", "readers closed")
    rows: list[tuple[str, ...]] = []
    for name, outcome in outcomes.items():
        shares = f"{outcome.answered:.1%}", f"{outcome.heard:.1%}"
        rows.append((name, *shares, *(f"{size:.1f}" for size in outcome.memory), str(outcome.hung_up)))
    usual = outcomes[_NONE]
    figures = [
        _worst("fewer answers, %", outcomes, lambda told: 100 * (1 - told.answered / usual.answered), _FEWER),
        _worst("fewer heard at the port, %", outcomes, lambda told: 100 * (1 - told.heard / usual.heard), _FEWER),
        _worst("memory grows by, MB", outcomes, lambda told: told.memory[1] - told.memory[0], _MEMORY),
        _worst("memory that does not come back, MB", outcomes, lambda told: told.memory[2] - told.memory[0], _MEMORY),
    ]
    return [Table("Attacks", headings, rows), limits(figures)]


def _worst(what: str, outcomes: dict[str, Outcome], measure: Callable[[Outcome], float], limit: float) -> Figure:
    """Return the figure of the attack with the highest cost."""
    name = max(outcomes, key=lambda name: measure(outcomes[name]))
    return Figure(f"{what}, at worst ({name})", measure(outcomes[name]), limit, form="{:.1f}")


def figures(seconds: float, names: list[str]) -> list[Table]:
    """Run the attacks in turn against one daemon; return the tables."""
    endpoint, web = f"tcp://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    camera = f'name = "door"\nsource = "{demo_clip()}"\nloop = true\nfps = {_FPS}'
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(Path(folder), [camera], endpoint, web=web) as watch,
        Subscriber(endpoint, topics=("result/",)) as port,
    ):
        bench = Bench(watch, port, [])
        bench.run(10.0)  # let the start settle
        outcomes = {}
        for name in dict.fromkeys((_NONE, *names)):
            http = name in attacks_http.ATTACKS
            outcomes[name] = attacked(bench, ALL[name], web if http else endpoint, seconds)
            print(name, outcomes[name], file=sys.stderr)
        return _tables(outcomes)


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of attacks: {'; '.join(ALL)}")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    tables = figures(arguments.seconds, arguments.names or [*ALL])
    return finish("attacks.py", tables, _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
