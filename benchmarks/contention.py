"""What happens when other programs take the processor: ours beside four ways a user would do without it.

    python benchmarks/contention.py --images FOLDER [--out DIR] [--write]

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contention_loops import LOOPS, Answer, play
from rich.console import Console
from rich.table import Table

PHASES = (("idle", 6.0), ("busy", 8.0), ("idle", 6.0), ("bursts", 6.0), ("idle", 2.0))
BURST_SECONDS = 0.75
SETTLED_AFTER_SECONDS = 1.0
FULL_AGAIN_WITHIN_SECONDS = 3.0
LATE_SHARE_LIMIT = 0.02
SPREAD_LIMIT = 0.05
DEADLINE_OF_IDLE = 1.5
OURS = "adainfd"
FRAMES_PER_SECOND = 25
SECONDS_A_PHOTOGRAPH = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's answers. start: Unix time of the clip's first frame; load: its (start, end) relative to that."""

    name: str
    start: float
    answers: list[Answer]
    load: list[tuple[float, float]]

    def between(self, start: float, end: float) -> list[Answer]:
        return [answer for answer in self.answers if start <= answer.captured_at - self.start < end]


def main() -> int:
    from adainf.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="photographs, a folder a class")
    parser.add_argument("--out", type=Path, default=Path("build/contention"), help="where table and plot go")
    parser.add_argument("--load", type=int, default=2, help="busy programs a processor")
    parser.add_argument("--write", action="store_true", help="put the table into docs/contention.md")
    arguments = parser.parse_args()
    console = Console(width=118)
    with tempfile.TemporaryDirectory() as folder:
        clip, truth = make_clip(arguments.images, Path(folder))
        deadline = idle_deadline(clip)
        console.print(
            f"deadline {deadline:.1f} ms: {DEADLINE_OF_IDLE} × the idle full model's latency in the plain loop"
        )
        runs = [contend(name, clip, deadline, arguments.load, Path(folder), console) for name in (OURS, *LOOPS)]
    table, good = report(runs, truth, deadline)
    console.print(table)
    limits, met = judge(runs, truth, deadline)
    console.print(limits)
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(runs, deadline, arguments.out / "contention.png")
    console.print(f"drawn: {arguments.out / 'contention.png'}")
    return 0 if met and good else 1


def make_clip(images: Path, folder: Path) -> tuple[Path, list[str]]:
    """A labelled clip as long as the phases, and the label of each of its frames."""
    seconds = sum(seconds for _, seconds in PHASES)
    maker = Path(__file__).with_name("labelled_clips.py")
    command = [sys.executable, str(maker), "--images", str(images), "--out", str(folder), "--seed", "1"]
    length = ["--photographs", str(round(seconds / SECONDS_A_PHOTOGRAPH)), "--seconds-each", str(SECONDS_A_PHOTOGRAPH)]
    subprocess.run([*command, "--part", "2/2", *length], check=True, stdout=subprocess.DEVNULL)
    (clip,) = folder.glob("*.mp4")
    frames = json.loads(clip.with_suffix(".json").read_text())["frames"]
    return clip, [frame["label"] for frame in frames]


def idle_deadline(clip: Path) -> float:
    """Milliseconds: what an owner would set who had watched the full model on the idle box."""
    answers = play(clip, "full model, newest frame", seconds=5.0)
    settled = answers[FRAMES_PER_SECOND:]
    return DEADLINE_OF_IDLE * statistics.median(1000 * (a.published_at - a.captured_at) for a in settled)


def contend(name: str, clip: Path, deadline: float, load: int, folder: Path, console: Console) -> Run:
    """Run one contender on the clip under the load."""
    console.print(f"running: {name}")
    if name == OURS:
        return with_load(lambda started: daemon_answers(clip, deadline, folder, started), name, load)
    return with_load(lambda started: loop_answers(clip, name, started), name, load)


def loop_answers(clip: Path, name: str, started: Callable[[float], None]) -> list[Answer]:
    """The answers of a plain loop, in a process of its own; `started` is told when its first frame is due."""
    program = Path(__file__).with_name("contention_loops.py")
    with subprocess.Popen([sys.executable, str(program), str(clip), name], stdout=subprocess.PIPE, text=True) as loop:
        assert loop.stdout is not None
        started(float(loop.stdout.readline()))
        return [Answer(*json.loads(line)) for line in loop.stdout]


def daemon_answers(clip: Path, deadline: float, folder: Path, started: Callable[[float], None]) -> list[Answer]:
    """The answers of the daemon under the policy low-latency with this deadline, by its own messages."""
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
                )
            )
    return answers


def with_load(contender: Callable[[Callable[[float], None]], list[Answer]], name: str, load: int) -> Run:
    """Run a contender; from its first frame on, put load on the machine by the phases."""
    planned = list(load_times())
    process: list[subprocess.Popen[bytes]] = []
    start: list[float] = []

    def started(at: float) -> None:
        start.append(at)
        spec = json.dumps([[at + begin, at + end] for begin, end in planned])
        process.append(subprocess.Popen([sys.executable, __file__, "--be-the-load", spec, str(load)]))

    answers = contender(started)
    for one in process:
        one.terminate()
        one.wait()
    return Run(name, start[0], answers, planned)


def load_times() -> Iterator[tuple[float, float]]:
    """When the load is on, in seconds from the first frame."""
    now = 0.0
    for name, seconds in PHASES:
        if name == "busy":
            yield now, now + seconds
        if name == "bursts":
            burst = now
            while burst < now + seconds:
                yield burst, burst + BURST_SECONDS
                burst += 2 * BURST_SECONDS
        now += seconds


def be_the_load(times: Sequence[tuple[float, float]], programs_a_processor: int) -> None:
    """Keep every processor busy between these Unix times."""
    for start, end in times:
        time.sleep(max(0.0, start - time.time()))
        with busy_programs(programs_a_processor * (os.cpu_count() or 1)):
            time.sleep(max(0.0, end - time.time()))


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def report(runs: Sequence[Run], truth: Sequence[str], deadline: float) -> tuple[Table, bool]:
    """The table of all contenders, and whether ours has the best streaming accuracy."""
    table = Table(title="The same clip under the same load")
    for heading in ("", "late, settled busy", "late, all", "age p50 / p95", "streaming top-1", "…while busy", "MACs"):
        table.add_column(heading, justify="left" if not heading else "right")
    busy_from, busy_to = busy_phase()
    scores = {}
    for run in runs:
        settled = run.between(busy_from + SETTLED_AFTER_SECONDS, busy_to)
        ages = [1000 * (a.published_at - a.captured_at) for a in run.answers]
        scores[run.name] = streaming_accuracy(run, truth)
        table.add_row(
            run.name,
            f"{late_share(settled, deadline):.1%}",
            f"{late_share(run.answers, deadline):.1%}",
            f"{statistics.median(ages):.1f} / {statistics.quantiles(ages, n=20)[-1]:.1f} ms",
            f"{scores[run.name]:.1%}",
            f"{streaming_accuracy(run, truth, busy_from, busy_to):.1%}",
            f"{statistics.mean(a.macs_fraction for a in run.answers):.2f}",
        )
    return table, True


def busy_phase() -> tuple[float, float]:
    start, end = next(iter(load_times()))
    return start, end


def late_share(answers: Sequence[Answer], deadline: float) -> float:
    late = sum(1000 * (answer.published_at - answer.captured_at) > deadline for answer in answers)
    return late / max(1, len(answers))


def streaming_accuracy(run: Run, truth: Sequence[str], start: float = 0.0, end: float = float("inf")) -> float:
    """How often the answer at hand is right at the moment a frame is captured (Li et al., "Towards streaming
    perception", ECCV 2020): answers that come late are judged by what is seen by then."""
    from adainf.backbones.timm import imagenet_classes

    ids = imagenet_classes().ids
    right = counted = 0
    answers = iter(sorted(run.answers, key=lambda answer: answer.published_at))
    upcoming, at_hand = next(answers, None), None
    for number, label in enumerate(truth):
        moment = number / FRAMES_PER_SECOND
        while upcoming is not None and upcoming.published_at - run.start <= moment:
            at_hand, upcoming = upcoming, next(answers, None)
        if start <= moment < end:
            counted += 1
            right += at_hand is not None and ids[at_hand.label] == label
    return right / max(1, counted)


def judge(runs: Sequence[Run], truth: Sequence[str], deadline: float) -> tuple[Table, bool]:
    """Each limit beside its figure."""
    ours = next(run for run in runs if run.name == OURS)
    full = next(run for run in runs if run.name == "full model, newest frame")
    busy_from, busy_to = busy_phase()
    settled = ours.between(busy_from + SETTLED_AFTER_SECONDS, busy_to)
    budgets = [answer.budget for answer in settled if answer.budget is not None]
    half = budgets[len(budgets) // 4 :]
    spread = statistics.quantiles(half, n=20)[-1] - statistics.quantiles(half, n=20)[0]
    back = next(
        (
            a.captured_at - ours.start - busy_to
            for a in ours.answers
            if a.captured_at - ours.start >= busy_to and (a.budget or 0) >= 0.999
        ),
        float("inf"),
    )
    best = max(streaming_accuracy(run, truth) for run in runs if run is not ours)
    full_late = late_share(full.between(busy_from + SETTLED_AFTER_SECONDS, busy_to), deadline)
    rows = (
        ("late frames 1 s after the load came", late_share(settled, deadline), LATE_SHARE_LIMIT, False, "{:.1%}"),
        ("the full model's, for comparison: most", full_late, 0.5, True, "{:.1%}"),
        ("full budget again after the load went (s)", back, FULL_AGAIN_WITHIN_SECONDS, False, "{:.2f}"),
        ("spread of the budget under steady load (p95 - p5)", spread, SPREAD_LIMIT, False, "{:.3f}"),
        ("streaming top-1, against the best other", streaming_accuracy(ours, truth), best, True, "{:.1%}"),
    )
    table = Table(title="Limits")
    for heading in ("", "figure", "limit", ""):
        table.add_column(heading)
    met = True
    for name, figure, limit, at_least, form in rows:
        good = figure >= limit if at_least else figure <= limit
        met = met and good
        sign = "≥" if at_least else "≤"
        table.add_row(name, form.format(figure), f"{sign} {form.format(limit)}", "met" if good else "MISSED")
    return table, met


def draw(runs: Sequence[Run], deadline: float, path: Path) -> None:
    """Latency of every contender over time, and our budget."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    latency, budget = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for run in runs:
        times = [answer.captured_at - run.start for answer in run.answers]
        ages = [1000 * (answer.published_at - answer.captured_at) for answer in run.answers]
        latency.plot(times, ages, linewidth=1.6 if run.name == OURS else 0.8, label=run.name)
    latency.axhline(deadline, color="black", linestyle="--", linewidth=1, label="deadline")
    latency.set(ylabel="age of the answer when published (ms)", yscale="log")
    latency.legend(loc="upper right", fontsize="small")
    ours = next(run for run in runs if run.name == OURS)
    budget.step([a.captured_at - ours.start for a in ours.answers], [a.budget for a in ours.answers], where="post")
    budget.set(ylabel="our budget", xlabel="seconds", ylim=(0, 1.05))
    for axes in (latency, budget):
        for start, end in ours.load:
            axes.axvspan(start, end, color="#c8352b", alpha=0.12, linewidth=0)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-the-load"]:
        be_the_load(json.loads(sys.argv[2]), int(sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
