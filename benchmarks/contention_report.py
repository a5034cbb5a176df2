"""Report of the contention benchmark: tables, limits, and a plot."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contention_loops import Answer
from pages import measured_on, put
from tables import Figure, Table
from tables import limits as limit_table

__all__ = [
    "FRAMES_PER_SECOND",
    "PHASES",
    "Run",
    "contenders",
    "draw",
    "limits",
    "load_times",
    "streaming_accuracy",
    "write",
]

FRAMES_PER_SECOND = 25
PHASES = (("idle", 8.0), ("busy", 16.0), ("idle", 8.0), ("bursts", 9.0), ("idle", 4.0))
BURST_SECONDS = 0.75
SETTLED_AFTER_SECONDS = 1.0
FULL_AGAIN_WITHIN_SECONDS = 3.0
LATE_SHARE = 0.02
BUDGET_SPREAD = 0.05
FULL = "full model, newest frame"
_SHARE = "{:.1%}"


def load_times() -> Iterator[tuple[float, float]]:
    """Yield the intervals of load, in seconds from the first frame."""
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


BUSY_FROM, BUSY_TO = next(load_times())
SETTLED_FROM = BUSY_FROM + SETTLED_AFTER_SECONDS


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's answers.

    start: Unix time of the clip's first frame.
    """

    name: str
    start: float
    answers: list[Answer]

    @property
    def first_answers(self) -> list[Answer]:
        """The answers without second looks."""
        return [answer for answer in self.answers if not answer.again]

    def between(self, start: float, end: float) -> list[Answer]:
        """Return the first answers to frames captured in an interval, in seconds from the first frame."""
        return [answer for answer in self.first_answers if start <= answer.captured_at - self.start < end]


def contenders(runs: Sequence[Run], truth: Sequence[str], deadline: float) -> Table:
    """Return a table of each contender's lateness, age, streaming accuracy and MACs.

    deadline: milliseconds.
    """
    headings = ("", "late while busy", "late in all", "age p50 / p95, ms", "streaming top-1", "while busy", "MACs")
    return Table("The same clip under the same load", headings, [_row(run, truth, deadline) for run in runs])


def _row(run: Run, truth: Sequence[str], deadline: float) -> tuple[str, ...]:
    first = run.first_answers
    ages = [answer.age_ms for answer in first]
    return (
        run.name,
        f"{_late_share(run.between(SETTLED_FROM, BUSY_TO), deadline):.1%}",
        f"{_late_share(first, deadline):.1%}",
        f"{statistics.median(ages):.1f} / {statistics.quantiles(ages, n=20)[-1]:.1f}",
        f"{streaming_accuracy(run, truth):.1%}",
        f"{streaming_accuracy(run, truth, BUSY_FROM, BUSY_TO):.1%}",
        f"{sum(answer.macs_fraction for answer in run.answers) / len(first):.2f}",
    )


def limits(ours: Run, others: Sequence[Run], truth: Sequence[str], deadline: float) -> Table:
    """Return a table of the figures and their limits.

    deadline: milliseconds.
    """
    settled = ours.between(SETTLED_FROM, BUSY_TO)
    full = next(run for run in others if run.name == FULL).between(SETTLED_FROM, BUSY_TO)
    best = max(streaming_accuracy(run, truth) for run in others)
    return limit_table(
        [
            Figure(
                "late frames, from 1 s after the load came", _late_share(settled, deadline), LATE_SHARE, form=_SHARE
            ),
            Figure("the full model's late frames then: most", _late_share(full, deadline), 0.5, True, _SHARE),
            Figure("full budget again after the load went, s", _full_again(ours), FULL_AGAIN_WITHIN_SECONDS),
            Figure("spread of the budget under steady load", _spread(settled), BUDGET_SPREAD, form="{:.3f}"),
            Figure("streaming top-1, against the best other", streaming_accuracy(ours, truth), best, True, _SHARE),
        ]
    )


def _late_share(answers: Sequence[Answer], deadline: float) -> float:
    return sum(answer.age_ms > deadline for answer in answers) / max(1, len(answers))


def _full_again(ours: Run) -> float:
    after = (answer for answer in ours.first_answers if answer.captured_at - ours.start >= BUSY_TO)
    first = next((answer for answer in after if (answer.budget or 0.0) >= 0.999), None)
    return float("inf") if first is None else first.captured_at - ours.start - BUSY_TO


def _spread(answers: Sequence[Answer]) -> float:
    """Return the range of the budgets from the 5th to the 95th percentile, without the first quarter of the answers."""
    budgets = [answer.budget or 0.0 for answer in answers[len(answers) // 4 :]]
    twentieths = statistics.quantiles(budgets, n=20)
    return twentieths[-1] - twentieths[0]


def streaming_accuracy(run: Run, truth: Sequence[str], start: float = 0.0, end: float = float("inf")) -> float:
    """Return how often the latest published answer is right at the moment a frame is captured.

    A late answer is thus judged against what is visible by then: Li et al., "Towards streaming perception", ECCV 2020.
    """
    from adainf.backbones.timm import imagenet_classes

    ids = imagenet_classes().ids
    answers = iter(sorted(run.answers, key=lambda answer: answer.published_at))
    upcoming, at_hand = next(answers, None), None
    right: list[bool] = []
    for number, label in enumerate(truth):
        moment = number / FRAMES_PER_SECOND
        while upcoming is not None and upcoming.published_at - run.start <= moment:
            at_hand, upcoming = upcoming, next(answers, None)
        if start <= moment < end:
            right.append(at_hand is not None and ids[at_hand.label] == label)
    return statistics.mean(right)


def draw(ours: Run, others: Sequence[Run], deadline: float, path: Path) -> None:
    """Write a PNG of every contender's latency over time, and of our budget."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    latency, budget = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for run in (ours, *others):
        times = [answer.captured_at - run.start for answer in run.first_answers]
        ages = [answer.age_ms for answer in run.first_answers]
        latency.plot(times, ages, linewidth=1.6 if run is ours else 0.8, label=run.name)
    latency.axhline(deadline, color="black", linestyle="--", linewidth=1, label="deadline")
    latency.set(ylabel="age of the answer when published (ms)", yscale="log")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    budget.step(
        [answer.captured_at - ours.start for answer in ours.first_answers],
        [answer.budget or 0.0 for answer in ours.first_answers],
        where="post",
    )
    budget.set(ylabel="our budget", xlabel="seconds (red: other programs are busy)", ylim=(0, 1.05))
    for axes in (latency, budget):
        for start, end in load_times():
            axes.axvspan(start, end, color="#c8352b", alpha=0.12, linewidth=0)
    figure.savefig(path, dpi=110)


def write(page: str, deadline: float, *tables: Table) -> None:
    """Write the tables to a page of the docs.

    deadline: milliseconds.
    """
    head = f"{measured_on()}; deadline {deadline:.1f} ms."
    body = "\n\n".join([head, *(table.markdown() for table in tables)])
    put(page, "benchmarks/contention.py", body)
