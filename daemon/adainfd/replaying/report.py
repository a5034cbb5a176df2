"""The comparison of two sets of decisions, as a table and as a list of differences."""

import statistics
from collections import Counter

from rich.table import Table

from adainfd.replaying.decisions import Decisions

__all__ = ["differences", "table"]


def table(before: Decisions, after: Decisions, policy: str | None) -> Table:
    """Recorded beside replayed."""
    comparison = Table(title=f"{len(before.decisions)} frames")
    comparison.add_column("")
    comparison.add_column("recorded", justify="right")
    comparison.add_column(f"replayed under {policy or 'the same policy'}", justify="right")
    deadline = after.deadline_ms or before.deadline_ms
    for (name, recorded), (_, replayed) in zip(_rows(before, deadline), _rows(after, deadline), strict=True):
        comparison.add_row(name, recorded, replayed)
    return comparison


def _rows(decisions: Decisions, deadline: float | None) -> list[tuple[str, str]]:
    every = decisions.decisions
    if not every:
        return [("frames", "none")]
    latencies = [decision.latency_ms for decision in every]
    p95 = statistics.quantiles(latencies, n=20)[-1] if len(latencies) > 1 else latencies[0]
    missed = "no deadline" if deadline is None else f"{sum(ms > deadline for ms in latencies) / len(every):.1%}"
    limits = Counter(decision.budget.limited_by for decision in every)
    return [
        ("mean budget", f"{statistics.mean(d.budget.fraction for d in every):.3f}"),
        ("mean MACs, of the full model's", f"{statistics.mean(d.macs_fraction for d in every):.3f}"),
        ("answers reused", f"{sum(d.reused for d in every) / len(every):.1%}"),
        ("looked at again", f"{sum(d.looked_again for d in every) / len(every):.1%}"),
        ("mean expected accuracy", f"{statistics.mean(d.expected_accuracy for d in every):.3f}"),
        ("latency p50 / p95", f"{statistics.median(latencies):.1f} / {p95:.1f} ms"),
        ("later than the deadline", missed),
        ("limited by", ", ".join(f"{rule} {count / len(every):.0%}" for rule, count in limits.most_common())),
    ]


def differences(before: Decisions, after: Decisions) -> list[str]:
    """A line for each frame whose budget differs."""
    return [
        f"{old.camera} frame {old.number}: recorded {old.budget.fraction} by {old.budget.limited_by}, "
        f"replayed {new.budget.fraction} by {new.budget.limited_by}"
        for old, new in zip(before.decisions, after.decisions, strict=True)
        if old.budget != new.budget
    ]
