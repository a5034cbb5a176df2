"""What the daemon does while cameras fail, and after a long time at full speed.

    python benchmarks/soak.py [--restarts 20] [--minutes 20] [--write]

One camera reads from a real RTSP server that is killed and started again, frozen, and whose reader is killed; others
play files meanwhile. Then eight cameras share the processor, and two play at full speed for so many minutes. At last
whatever may stand in files and messages, right and wrong, is generated and read.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import batches
from adainfd.client import Message, Result, Status, Subscriber
from adainfd.terminal.demo import demo_clip
from cameras import processor_seconds
from startup import processes
from tables import Figure, Table, finish, limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from stream_servers import RtspServer, h264_file, rtsp_server

_PAGE = "soak.md"
_WITHIN_SECONDS = 120.0
_STALL_SECONDS = 1.0
_RETRY_SECONDS = 0.25
_CROWD, _MAX_AGE = 8, 0.5
_MEGABYTE = 1 << 20


@dataclass(slots=True)
class Watch:
    """A running daemon, its messages, and its frame counts.

    results: number of answers so far, by camera. captured_at: Unix times of the answered frames.
    hung_up: connections that the daemon has closed by its limits so far.
    oldest: seconds from capture to publishing of the oldest answer.
    accounts_agree: whether the fates of the frames have added up to those captured in every message. last: each
    camera's last status.
    """

    daemon: "subprocess.Popen[bytes]"
    messages: Subscriber
    results: dict[str, int] = field(default_factory=dict)
    captured_at: list[float] = field(default_factory=list)
    hung_up: int = 0
    oldest: float = 0.0
    accounts_agree: bool = True
    last: dict[str, Status] = field(default_factory=dict)

    def until(self, wanted: Callable[[Message], bool], seconds: float = _WITHIN_SECONDS) -> float:
        """Return the seconds until a message is `wanted`; raises TimeoutError after `seconds`."""
        begun = time.monotonic()
        while (left := begun + seconds - time.monotonic()) > 0:
            message = self.messages.receive(left)
            if message is None:
                continue
            self._take_in(message)
            if wanted(message):
                return time.monotonic() - begun
        raise TimeoutError(f"not within {seconds:.0f} s")

    def run(self, seconds: float) -> None:
        """Collect messages for `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self.messages.receive(left)
            if message is not None:
                self._take_in(message)

    def _take_in(self, message: Message) -> None:
        if is_an_answer(message):
            self.results[message.camera] = self.results.get(message.camera, 0) + 1
            self.captured_at.append(message.captured_at)
            self.oldest = max(self.oldest, message.timing_ms.total / 1000)
        elif isinstance(message, Status):
            self.hung_up = message.hung_up or self.hung_up
            if message.camera is not None:
                self.last[message.camera] = message
            accounts = [*(message.cameras or {}).values(), *([message.account] if message.account else [])]
            for account in accounts:
                dropped = account.dropped
                fates = account.published + account.reused + account.waiting + dropped.newer_frame + dropped.too_old
                fates += dropped.model_parked + dropped.over_rate + dropped.stopped + dropped.undecodable
                self.accounts_agree = self.accounts_agree and fates == account.captured

    def descriptors(self) -> int:
        """Return the number of file descriptors of the daemon and all its subprocesses."""
        return sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in processes(self.daemon.pid))

    def threads(self) -> int:
        """Return the number of threads of the daemon and all its subprocesses."""
        return sum(len(list(Path(f"/proc/{process}/task").iterdir())) for process in processes(self.daemon.pid))

    def resident(self) -> float:
        """Return the memory of the daemon and all its subprocesses, in megabytes.

        File-backed pages are left out: their share depends on which other programs run.
        """
        total = 0
        for process in processes(self.daemon.pid):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total * 1024 / _MEGABYTE


def is_an_answer(message: Message) -> TypeGuard[Result]:
    """Return whether a message is the first answer to a frame."""
    return isinstance(message, Result) and not message.repeated and message.plan.chosen_by != "second_look"


@contextmanager
def daemon(folder: Path, cameras: list[str], *more: str, web: str | None = None) -> Iterator[Watch]:
    """Run a daemon; yields once every camera has had a result.

    cameras: the TOML table of each. more: further endpoints to publish at. web: HOST:PORT of its status page, with
    pictures of the camera "door".
    """
    endpoint, file = f"ipc://{folder}/stream", folder / "soak.toml"
    file.write_text(
        f"[publish]\nbind = {json.dumps([endpoint, *more])}\n"
        + ("" if web is None else f'[web]\nbind = {json.dumps(web)}\npictures = ["door"]\n')
        + "".join(f"[[camera]]\n{camera}\n" for camera in cameras)
    )
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(file)]
    topics = ("result/", "status/")
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as process,
        Subscriber(endpoint, topics=topics) as messages,
    ):
        watch = Watch(process, messages)
        try:
            watch.until(lambda _: len(watch.results) == len(cameras))
            yield watch
        finally:
            process.terminate()


def failing(folder: Path, video: Path, restarts: int) -> list[Figure]:
    """Measure a camera that fails in every way, and its effect on two others."""
    with rtsp_server(h264_file(folder)) as server:
        limits_ = f"stall_seconds = {_STALL_SECONDS}\nretry_seconds = {_RETRY_SECONDS}\nlongest_retry_seconds = 0.5"
        cameras = [f'name = "door"\nsource = "{server.address}"\n{limits_}']
        cameras += [f'name = "yard{n}"\nsource = "{video}"\nloop = true\nfps = 10' for n in (1, 2)]
        with daemon(folder, cameras) as watch:
            back = _restarted(watch, server, restarts)
            return [*back, *_frozen(watch, server), *_killed(watch), _agreed(watch)]


def _is_door(state: str) -> Callable[[Message], bool]:
    return lambda m: isinstance(m, Status) and (m.camera, m.state) == ("door", state) and not m.repeated


def _door_result(message: Message) -> bool:
    return isinstance(message, Result) and message.camera == "door" and not message.repeated


def _restarted(watch: Watch, server: RtspServer, restarts: int) -> list[Figure]:
    waits: list[float] = []
    held: list[tuple[int, int, int]] = []
    usual = _answered_by_others(watch, lambda: watch.run(10.0))

    def restart() -> None:
        server.kill()
        watch.until(_is_door("offline"))
        watch.run(0.5)
        server.start()
        waits.append(watch.until(_is_door("online")) + watch.until(_door_result))
        held.append((watch.descriptors(), watch.threads(), len(processes(watch.daemon.pid))))

    meanwhile = _answered_by_others(watch, lambda: [restart() for _ in range(restarts)])
    more = [last - first for first, last in zip(held[0], held[-1], strict=True)]
    return [
        Figure(f"{restarts} restarts of the server: the slowest first result after one, s", max(waits), 2.0),
        Figure("descriptors more after the last than after the first", more[0], 0, form="{:.0f}"),
        Figure("threads more", more[1], 0, form="{:.0f}"),
        Figure("processes more", more[2], 0, form="{:.0f}"),
        Figure("frames of the others answered meanwhile, to before", meanwhile / usual, 0.99, at_least=True),
    ]


def _answered_by_others(watch: Watch, do: Callable[[], object]) -> float:
    """Return the other cameras' answers per second while `do` runs."""
    begun, before = time.monotonic(), dict(watch.results)
    do()
    others = [name for name in watch.results if name != "door"]
    return sum(watch.results[name] - before[name] for name in others) / (time.monotonic() - begun)


def _frozen(watch: Watch, server: RtspServer) -> list[Figure]:
    watch.run(2.0)
    door = _door_process(watch)
    server.send_signal(signal.SIGSTOP)
    noticed = watch.until(_is_door("stalled"))
    begun, before = time.monotonic(), processor_seconds(door)
    watch.until(_is_door("offline"))
    busy = (processor_seconds(door) - before) / (time.monotonic() - begun)
    server.send_signal(signal.SIGCONT)
    watch.until(_door_result)
    return [
        Figure(f"frozen server: noticed after, s, of {_STALL_SECONDS:g} allowed", noticed, _STALL_SECONDS + 0.5),
        Figure("processor time of its reader meanwhile", busy, 0.02, form="{:.1%}"),
    ]


def _killed(watch: Watch) -> list[Figure]:
    figures = []
    for number in (signal.SIGKILL, signal.SIGSEGV):
        watch.run(2.0)
        os.kill(_door_process(watch), number)
        watch.until(_is_door("offline"))
        tried = watch.until(_is_door("connecting"))
        back = tried + watch.until(_is_door("online")) + watch.until(_door_result)
        what = f"reader killed by {number.name}"
        waited = f"{what}: a new process after, s, of {_RETRY_SECONDS:g} back-off"
        figures.append(Figure(waited, tried, _RETRY_SECONDS + 0.1))
        figures.append(Figure(f"{what}: first result after, s", back, 5.0))
    return figures


def _door_process(watch: Watch) -> int:
    """Return the process ID of the camera: the subprocess that holds a connection to the server."""
    for process in processes(watch.daemon.pid):
        if process != watch.daemon.pid and any(
            str(file.readlink()).startswith("socket:") and file.name != "0" for file in _network_sockets(process)
        ):
            return process
    raise RuntimeError("no process reads from the server")


def _network_sockets(process: int) -> list[Path]:
    tcp = {line.split()[9] for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]}
    files = list(Path(f"/proc/{process}/fd").iterdir())
    return [file for file in files if str(file.readlink()).removeprefix("socket:[").rstrip("]") in tcp]


def _agreed(watch: Watch) -> Figure:
    what = "accounts of all cameras that agree exactly, in every message"
    return Figure(what, float(watch.accounts_agree), 1.0, at_least=True, form="{:.0%}")


def crowded(folder: Path, video: Path, seconds: float) -> list[Figure]:
    """Run eight cameras with ten frames per second each, for `seconds`."""
    cameras = [f'name = "c{n}"\nsource = "{video}"\nloop = true\nfps = 10\nmax_age = {_MAX_AGE}' for n in range(_CROWD)]
    with daemon(folder, cameras) as watch:
        watch.run(10.0)  # let the start settle
        watch.oldest, before, begun = 0.0, sum(watch.results.values()), time.monotonic()
        watch.run(seconds)
        answered = (sum(watch.results.values()) - before) / (10 * _CROWD * (time.monotonic() - begun))
        what = f"{_CROWD} cameras of 10 frames a second, {answered:.0%} answered: the oldest answer, s, of {_MAX_AGE:g}"
        return [Figure(f"{what} allowed", watch.oldest, _MAX_AGE), _agreed(watch)]


def generated(each: int) -> list[Figure]:
    """Run the generated tests with `each` examples of each kind of file and message."""
    tests = Path(__file__).parents[1] / "tests" / "adainfd"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "generated", str(tests)]
    run = subprocess.run(
        command,
        cwd=tests.parents[1],
        env={**os.environ, "ADAINF_EXAMPLES": str(each)},
        capture_output=True,
        check=False,
    )
    if run.returncode:
        sys.stderr.buffer.write(run.stdout)
    what = f"{each} files or messages of each kind generated: neither read nor refused with a cause, kinds"
    return [Figure(what, run.stdout.count(b"FAILED ") if run.returncode == 1 else run.returncode, 0, form="{:.0f}")]


def lasting(folder: Path, video: Path, minutes: float) -> list[Figure]:
    """Run two cameras with more frames than can be answered, for `minutes`."""
    cameras = [f'name = "c{n}"\nsource = "{video}"\nloop = true\nfps = 100' for n in (1, 2)]
    with daemon(folder, cameras) as watch:
        watch.run(min(60.0, 30 * minutes))
        before = watch.resident()
        descriptors = watch.descriptors()
        watch.run(60 * minutes - min(60.0, 30 * minutes))
        grown = watch.resident() - before
        return [
            Figure(f"{minutes:g} minutes at full speed: memory grown after the first, MB", grown, 5.0, form="{:.1f}"),
            Figure("descriptors more", watch.descriptors() - descriptors, 0, form="{:.0f}"),
            _agreed(watch),
        ]


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--examples", type=int, default=2500, help="of each kind of file and message")
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    video = demo_clip()
    parts: list[Callable[[Path], list[Figure]]] = [
        lambda folder: failing(folder, video, arguments.restarts),
        lambda folder: crowded(folder, video, 30.0),
        lambda folder: lasting(folder, video, arguments.minutes),
        lambda _: generated(arguments.examples),
        lambda _: batches.figures(),
    ]
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            figures += part(Path(folder))
    table: Table = limits(figures)
    return finish("soak.py", [table], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
