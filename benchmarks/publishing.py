"""What subscribers cost who publishes: one that stops reading, and two hundred that come and go.

    python benchmarks/publishing.py [--seconds 8] [--write]

Publishes results at a fixed rate while one subscriber reads them all. Exits 1 where a limit is missed.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import zmq
from adainfd.client import Subscriber
from adainfd.wire.messages import Dropped, Label, Plan, Result, ResultBudget, ResultSignals, Timing
from adainfd.wire.serving.publisher import Publisher
from tables import Figure, Table, finish, limits

RATE = 100
_PAGE = "publishing.md"
# Long enough to fill the stalled subscriber's queue and its kernel buffers.
_FILLING_RATE, _FILLING_SECONDS = 2000, 6.0
_SETTLING_SECONDS = 3.0

Other = Callable[[str, Event, Event], None]


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    done, lost = spawn.Event(), spawn.Value("q", 0)
    publisher = Publisher(["tcp://127.0.0.1:*"])
    reader = spawn.Process(target=read, args=(publisher.endpoints[0], done, lost))
    reader.start()
    phases = [phase(publisher, name, other, lost, arguments.seconds) for name, other in _OTHERS.items()]
    done.set()
    publish(publisher, 0.5)
    reader.join()
    publisher.close()
    headings = (
        "beside it",
        "published a second",
        "to send one, median, µs",
        "99th percentile, µs",
        "memory grows, MB",
    )
    rows = [(p.name, f"{p.rate:.1f}", f"{p.median:.0f}", f"{p.high:.0f}", f"{p.growth / 1e6:.1f}") for p in phases]
    figures = [
        Figure("published rate changes by, %", max(100 * abs(p.rate / phases[0].rate - 1) for p in phases), 2),
        Figure("memory grows by, MB", max(p.growth for p in phases) / 1e6, 5, form="{:.1f}"),
        Figure("lost by the one that reads", sum(p.lost for p in phases), 0, form="{:.0f}"),
    ]
    table = Table(f"Subscribers beside one that reads, {RATE} results a second", headings, rows)
    return finish("publishing.py", [table, limits(figures)], _PAGE if arguments.write else None)


@dataclass(frozen=True, slots=True)
class Phase:
    """The cost of publishing beside other subscribers.

    rate: messages per second. median, high: median and 99th percentile of the time to send one, microseconds. growth:
    memory growth once settled, bytes. lost: messages that the subscriber that reads everything missed.
    """

    name: str
    rate: float
    median: float
    high: float
    growth: int
    lost: int


def phase(publisher: Publisher, name: str, other: Other | None, lost: Any, seconds: float) -> Phase:
    """Publish for `seconds` beside the subscribers of `other`."""
    spawn = multiprocessing.get_context("spawn")
    ready, over = spawn.Event(), spawn.Event()
    process = None if other is None else spawn.Process(target=other, args=(publisher.endpoints[0], ready, over))
    if process is not None:
        process.start()
        ready.wait()
    if other is stop_reading:
        publish(publisher, _FILLING_SECONDS, _FILLING_RATE)
    publish(publisher, _SETTLING_SECONDS)
    settled, lost_before = resident(), lost.value
    rate, times = publish(publisher, seconds)
    growth = resident() - settled
    over.set()
    if process is not None:
        process.join()
    high = statistics.quantiles(times, n=100)[-1]
    return Phase(name, rate, 1e6 * statistics.median(times), 1e6 * high, growth, lost.value - lost_before)


def publish(publisher: Publisher, seconds: float, rate: int = RATE) -> tuple[float, list[float]]:
    """Publish for `seconds`; return the messages per second, and the seconds that each took to send."""
    start = time.monotonic()
    times = []
    for number in range(round(rate * seconds)):
        due = start + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        before = time.perf_counter()
        publisher.resend_last()
        publisher.send("result/here/door", result)
        times.append(time.perf_counter() - before)
    return len(times) / (time.monotonic() - start), times


def result(number: int) -> Result:
    """Return a message of typical size."""
    return Result(
        host="here",
        camera="door",
        sequence=number,
        frame=number,
        captured_at=time.time(),
        published_at=time.time(),
        labels=[Label("mountain bike", 671, 0.83), Label("unicycle", 880, 0.1), Label("tricycle", 870, 0.02)],
        budget=ResultBudget(0.61, "contention"),
        plan=Plan("192:1110110111011101", "lookup", 201_300_000, 0.52, 0.84),
        signals=ResultSignals(0.021, 0.03, None, None, 0.1, 0.2),
        timing_ms=Timing(3.1, 1.9, 11.8, 17.4),
        dropped=Dropped(12, 0),
    )


def read(endpoint: str, done: Event, lost: Any) -> None:
    """Read everything, and count the lost messages in `lost`."""
    with Subscriber(endpoint) as messages:
        while not done.is_set():
            messages.receive(0.2)
            lost.value = messages.lost


def stop_reading(endpoint: str, ready: Event, over: Event) -> None:
    """Subscribe to everything and read nothing."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 10)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint)
        ready.set()
        over.wait()


def come_and_go(endpoint: str, ready: Event, over: Event) -> None:
    """Keep two hundred subscribers connected; the oldest leaves for each new one."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 1000)
        crowd: list[Any] = []
        while not over.wait(0.01):
            socket = context.socket(zmq.SUB)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(endpoint)
            crowd.append(socket)
            if len(crowd) > 200:
                ready.set()
                crowd.pop(0).close(linger=0)
        for socket in crowd:
            socket.close(linger=0)


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


_OTHERS: dict[str, Other | None] = {
    "nobody": None,
    "one that stops reading": stop_reading,
    "200 that come and go": come_and_go,
}


if __name__ == "__main__":
    sys.exit(main())
