"""What happens when other programs take the processor: ours beside four ways a user would do without it.

    python benchmarks/contention.py --images FOLDER [--out DIR] [--seed N] [--write]

Each contender sees the same labelled clip in real time, under the same load: idle, every processor busy, idle, bursts.
The table says how late answers came and what they were worth at the moment they were needed; each limit stands beside
its figure. Exits 1 where a limit is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import contention_report as report
from contention_loops import LOOPS, Answer, play
from contention_report import FRAMES_PER_SECOND, PHASES, Run, load_times
from exports import make_exports
from rich.console import Console

OURS = "adainfd"
DEADLINE_OF_IDLE = 2.0
SECONDS_A_PHOTOGRAPH = 1.5
# A busy program ends with the benchmark, however that ends.
BUSY = """
import os

parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
REPORTS, PAGE = Path(__file__).parent / "reports", "contention.md"


def main() -> int:
    from adainf.process.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="photographs, a folder a class")
    parser.add_argument("--out", type=Path, default=Path("build/contention"), help="where table and plot go")
    parser.add_argument("--load", type=int, default=1, help="busy programs a processor")
    parser.add_argument("--seed", type=int, default=1, help="of the clip: which photographs, and how they are filmed")
    parser.add_argument("--write", action="store_true", help="put the table into reports/contention.md")
    arguments = parser.parse_args()
    make_exports()
    console = Console(width=118)
    with tempfile.TemporaryDirectory() as folder:
        clip, truth = make_clip(arguments.images, Path(folder), arguments.seed)
        deadline = idle_deadline(clip)
        console.print(
            f"deadline {deadline:.1f} ms: {DEADLINE_OF_IDLE:g} × the idle full model's latency in the plain loop"
        )
        runs = [contend(name, clip, deadline, arguments.load, Path(folder), console) for name in (OURS, *LOOPS)]
    ours, others = runs[0], runs[1:]
    contenders = report.contenders(runs, truth, deadline)
    limits = report.limits(ours, others, truth, deadline)
    console.print(contenders.rich(), limits.rich())
    picture = (REPORTS if arguments.write else arguments.out) / "contention.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    report.draw(ours, others, deadline, picture)
    console.print(f"drawn: {picture}")
    if arguments.write:
        report.write(PAGE, deadline, contenders, limits)
    return 0 if limits.met else 1


def make_clip(images: Path, folder: Path, seed: int) -> tuple[Path, list[str]]:
    """Make a labelled clip as long as the phases; return its path and the label of each frame."""
    seconds = sum(seconds for _, seconds in PHASES)
    maker = Path(__file__).with_name("labelled_clips.py")
    command = [sys.executable, str(maker), "--images", str(images), "--out", str(folder), "--seed", str(seed)]
    length = ["--photographs", str(round(seconds / SECONDS_A_PHOTOGRAPH)), "--seconds-each", str(SECONDS_A_PHOTOGRAPH)]
    subprocess.run([*command, "--part", "2/2", *length], check=True, stdout=subprocess.DEVNULL)
    (clip,) = folder.glob("*.mp4")
    frames = json.loads(clip.with_suffix(".json").read_text())["frames"]
    return clip, [frame["label"] for frame in frames]


def idle_deadline(clip: Path) -> float:
    """Return the deadline in milliseconds: twice the full model's median latency on the idle box.

    An owner would choose such a deadline after watching the full model.
    """
    answers = play(clip, "full model, newest frame", seconds=5.0)
    settled = answers[FRAMES_PER_SECOND:]
    return DEADLINE_OF_IDLE * statistics.median(answer.age_ms for answer in settled)


def contend(name: str, clip: Path, deadline: float, load: int, folder: Path, console: Console) -> Run:
    """Run one contender on the clip under load."""
    console.print(f"running: {name}")
    if name == OURS:
        return with_load(lambda started: daemon_answers(clip, deadline, folder, started), name, load)
    return with_load(lambda started: loop_answers(clip, name, started), name, load)


def loop_answers(clip: Path, name: str, started: Callable[[float], None]) -> list[Answer]:
    """Return the answers of a plain loop in a subprocess.

    started: called with the Unix time of the first frame.
    """
    program = Path(__file__).with_name("contention_loops.py")
    with subprocess.Popen([sys.executable, str(program), str(clip), name], stdout=subprocess.PIPE, text=True) as loop:
        assert loop.stdout is not None
        started(float(loop.stdout.readline()))
        return [Answer(*json.loads(line)) for line in loop.stdout]


def daemon_answers(clip: Path, deadline: float, folder: Path, started: Callable[[float], None]) -> list[Answer]:
    """Return the answers that the daemon publishes under the policy low-latency with this deadline.

    started: called with the Unix time of the first frame.
    """
    from adainfd.client import Result, Subscriber

    from adainf import shipped

    policy = folder / "policy.toml"
    text = shipped.find("policies", "low-latency", ".toml").read_text()
    lines = [f"milliseconds = {deadline}" if line.startswith("milliseconds") else line for line in text.splitlines()]
    policy.write_text("\n".join(lines))
    endpoint = f"ipc://{folder}/results"
    command = [sys.executable, "-m", "adainfd", "run", "--source", str(clip), "--bind", endpoint]
    answers: list[Answer] = []
    with (
        subprocess.Popen([*command, "--policy", str(policy)], stderr=subprocess.DEVNULL) as daemon,
        Subscriber(endpoint) as messages,
    ):
        while (message := messages.receive(0.5)) is not None or daemon.poll() is None:
            if not isinstance(message, Result):
                continue
            if not answers:
                started(message.captured_at - (message.frame - 1) / FRAMES_PER_SECOND)
            answers.append(
                Answer(
                    message.frame,
                    message.captured_at,
                    message.published_at,
                    message.labels[0].index,
                    message.plan.macs_fraction,
                    message.budget.fraction,
                    message.plan.chosen_by == "second_look",
                )
            )
    return answers


def with_load(contender: Callable[[Callable[[float], None]], list[Answer]], name: str, load: int) -> Run:
    """Run a contender while the phases' load runs on the machine, timed from the contender's first frame."""
    start: list[float] = []
    # Started before the contender, so that starting the load generator does not disturb it.
    command = [sys.executable, __file__, "--be-the-load", str(load)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def started(at: float) -> None:
            start.append(at)
            print(json.dumps([[at + begin, at + end] for begin, end in load_times()]), file=process.stdin, flush=True)

        answers = contender(started)
        process.terminate()
    return Run(name, start[0], answers)


def be_the_load(programs_a_processor: int) -> None:
    """Keep every processor busy during the intervals read from stdin, a JSON list of Unix times."""
    print("ready", flush=True)
    for start, end in json.loads(sys.stdin.readline()):
        time.sleep(max(0.0, start - time.time()))
        with busy_programs(programs_a_processor * (os.cpu_count() or 1)):
            time.sleep(max(0.0, end - time.time()))


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-the-load"]:
        be_the_load(int(sys.argv[2]))
        sys.exit(0)
    sys.exit(main())
