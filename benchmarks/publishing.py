"""What subscribers cost who publishes: one that stops reading, and two hundred that come and go.

    python benchmarks/publishing.py [--seconds 10]

Publishes results at a fixed rate while one subscriber reads them all. Exits 1 where a limit is missed.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import zmq
from adainfd.client import Subscriber
from adainfd.wire.messages import Budget, Dropped, Label, Plan, Result, Signals, Timing
from adainfd.wire.publisher import Publisher

RATE = 100
LIMIT_RATE = 0.02
LIMIT_BYTES = 5e6
# Two hundred are there, and the queue of the one that does not read is full.
_SETTLING_SECONDS = 6.0

Other = Callable[[str, Event], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    publisher = Publisher(["tcp://127.0.0.1:*"])
    spawn = multiprocessing.get_context("spawn")
    done, lost = spawn.Event(), spawn.Value("q", -1)
    reader = spawn.Process(target=read, args=(publisher.endpoints[0], done, lost))
    reader.start()
    phases: list[tuple[str, Other | None]] = [
        ("one that reads", None),
        ("and one that stops reading", stop_reading),
        ("and 200 that come and go", come_and_go),
    ]
    rates, memory = [], []
    print(f"{'subscribers':<30}{'published/s':>12}{'send p50 µs':>13}{'send p99 µs':>13}{'memory grows MB':>17}")
    for name, other in phases:
        over = spawn.Event()
        process = None if other is None else spawn.Process(target=other, args=(publisher.endpoints[0], over))
        if process is not None:
            process.start()
        publish(publisher, _SETTLING_SECONDS)
        settled = resident()
        rate, times = publish(publisher, seconds)
        rates.append(rate)
        memory.append(resident() - settled)
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[-1]
        print(f"{name:<30}{rate:12.1f}{1e6 * p50:13.1f}{1e6 * p99:13.1f}{memory[-1] / 1e6:17.1f}")
        over.set()
        if process is not None:
            process.join()
    done.set()
    publish(publisher, 0.5)
    reader.join()
    publisher.close()
    change, growth = max(abs(rate / rates[0] - 1) for rate in rates), max(memory)
    checks = [
        ("published rate changes by", f"{100 * change:.2f} %", "2 %", change <= LIMIT_RATE),
        ("memory grows by", f"{growth / 1e6:.1f} MB", "5 MB", growth <= LIMIT_BYTES),
        ("lost by the one that reads", str(lost.value), "0", lost.value == 0),
    ]
    for what, figure, limit, met in checks:
        print(f"{what}: {figure}; limit {limit}: {'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in checks) else 1


def publish(publisher: Publisher, seconds: float) -> tuple[float, list[float]]:
    """Publish for so long; messages a second, and the seconds that each took."""
    start = time.monotonic()
    times = []
    for number in range(round(RATE * seconds)):
        due = start + number / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        before = time.perf_counter()
        publisher.greet()
        publisher.send("result/here/door", result)
        times.append(time.perf_counter() - before)
    return len(times) / (time.monotonic() - start), times


def result(number: int) -> Result:
    """A message of the usual size."""
    return Result(
        host="here",
        camera="door",
        sequence=number,
        frame=number,
        captured_at=time.time(),
        published_at=time.time(),
        labels=[Label("mountain bike", 671, 0.83), Label("unicycle", 880, 0.1), Label("tricycle", 870, 0.02)],
        budget=Budget(0.61, "contention"),
        plan=Plan("192:1110110111011101", "lookup", 201_300_000, 0.52, 0.84),
        signals=Signals(0.021, 0.03, None, None, 0.1, 0.2),
        timing_ms=Timing(3.1, 1.9, 11.8, 17.4),
        dropped=Dropped(12, 0),
    )


def read(endpoint: str, done: Event, lost: Any) -> None:
    """Read everything, and say at the end how much was lost."""
    with Subscriber(endpoint) as messages:
        while not done.is_set():
            messages.receive(0.2)
        lost.value = messages.lost


def stop_reading(endpoint: str, over: Event) -> None:
    """Subscribe, and read nothing."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 10)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint)
        over.wait()


def come_and_go(endpoint: str, over: Event) -> None:
    """Keep two hundred subscribers there, of which the oldest leaves for each one that comes."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 1000)
        there: list[Any] = []
        while not over.wait(0.01):
            socket = context.socket(zmq.SUB)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(endpoint)
            there.append(socket)
            if len(there) > 200:
                there.pop(0).close(linger=0)
        for socket in there:
            socket.close(linger=0)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    sys.exit(main())
