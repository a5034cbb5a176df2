"""Replay: decide again on recorded signals, under the recorded policy or another, and compare."""

from pathlib import Path

from adainfd.replaying.decisions import recorded, replayed
from adainfd.replaying.report import differences, table

__all__ = ["replay"]


def replay(trace: Path, policy: str | None, *, check: bool, plot: Path | None) -> bool:
    """Decide again on `trace` and print the comparison; False where `check` finds a budget that differs.

    Raises InvalidInputError where the trace or policy cannot be read, or `check` is asked for with another policy.
    """
    from rich.console import Console

    from adainf.errors import InvalidInputError

    if check and policy is not None:
        raise InvalidInputError("--check: compares with the recorded policy; leave out --policy")
    before = recorded(trace)
    after = replayed(trace, policy)
    console = Console()
    if before.broken is not None:
        console.print(f"trace {trace}: {before.broken}; replayed to there", highlight=False, soft_wrap=True)
    console.print(table(before, after, policy))
    if plot is not None:
        from adainfd.replaying.plot import draw

        draw(before, after, policy, plot)
        console.print(f"drawn: {plot}", highlight=False, soft_wrap=True)
    if not check:
        return True
    differing = differences(before, after)
    for line in differing[:10]:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"{len(differing)} of {len(before.decisions)} budgets differ", highlight=False)
    return not differing
