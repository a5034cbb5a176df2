"""The comparison of recorded and replayed decisions, as a table and as lists of differences."""

import statistics
from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from adainf.base.errors import printable
from adainfd.replaying.decisions import Decision, Decisions

__all__ = ["differences", "other_answers", "table"]

_LONGEST = 200


def table(before: Decisions, after: Decisions, policies: str) -> Table:
    """Return the comparison of recorded decisions with those replayed under `policies`."""
    comparison = Table(title=f"{len(before.decisions)} frames")
    comparison.add_column("")
    comparison.add_column("recorded", justify="right")
    comparison.add_column(f"replayed under {printable(policies, _LONGEST)}", justify="right")
    # Measure both against the same deadline: the view's new one, or the recorded one if it has none now.
    pairs = zip(before.decisions, after.decisions, strict=True)
    deadlines = [new.deadline_ms or old.deadline_ms for old, new in pairs]
    columns = (_rows(before.decisions, deadlines), _rows(after.decisions, deadlines))
    for (name, recorded), (_, replayed) in zip(*columns, strict=True):
        comparison.add_row(name, recorded, replayed)
    return comparison


def _rows(decisions: Sequence[Decision], deadlines: Sequence[float | None]) -> list[tuple[str, str]]:
    if not decisions:
        return [("frames", "none")]
    latencies = [decision.latency_ms for decision in decisions]
    p95 = statistics.quantiles(latencies, n=20)[-1] if len(latencies) > 1 else latencies[0]
    late = [ms > deadline for ms, deadline in zip(latencies, deadlines, strict=True) if deadline is not None]
    limits = Counter(decision.budget.limited_by for decision in decisions)
    return [
        ("mean budget", f"{statistics.mean(d.budget.fraction for d in decisions):.3f}"),
        ("mean MACs, of the full model's", f"{statistics.mean(d.macs_fraction for d in decisions):.3f}"),
        ("most MACs of one frame", f"{max(d.macs_fraction for d in decisions):.3f}"),
        ("answers reused", f"{sum(d.reused for d in decisions) / len(decisions):.1%}"),
        ("looked at again", f"{sum(d.second_look is not None for d in decisions) / len(decisions):.1%}"),
        ("mean expected accuracy", f"{statistics.mean(d.expected_accuracy for d in decisions):.3f}"),
        ("latency p50 / p95", f"{statistics.median(latencies):.1f} / {p95:.1f} ms"),
        ("later than the deadline", f"{statistics.mean(late):.1%}" if late else "no deadline"),
        (
            "limited by",
            ", ".join(
                f"{printable(rule, _LONGEST)} {count / len(decisions):.0%}" for rule, count in limits.most_common()
            ),
        ),
    ]


def differences(before: Decisions, after: Decisions) -> list[str]:
    """Return a line for each frame whose budget differs."""
    return [
        f"{old.camera} frame {old.number}: recorded {old.budget.fraction} by {old.budget.limited_by}, "
        f"replayed {new.budget.fraction} by {new.budget.limited_by}"
        for old, new in zip(before.decisions, after.decisions, strict=True)
        if old.budget != new.budget
    ]


def other_answers(before: Decisions, after: Decisions) -> list[str]:
    """Return a line for each frame that has the same budget but another answer."""
    return [
        f"{old.camera} frame {old.number}: recorded {_answer(old)}, replayed {_answer(new)}"
        for old, new in zip(before.decisions, after.decisions, strict=True)
        if old.budget == new.budget and (old.branch, old.second_look) != (new.branch, new.second_look)
    ]


def _answer(decision: Decision) -> str:
    first = decision.branch or "the last answer"
    if decision.second_look is None:
        return first
    budget, branch = decision.second_look
    return f"{first}, then {branch} within {budget.fraction} by {budget.limited_by}"
