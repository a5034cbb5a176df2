"""Replay: decide again on recorded signals, under the recorded or other policies, and compare."""

from collections.abc import Sequence
from pathlib import Path

from adainfd.replaying.decisions import recorded, replayed
from adainfd.replaying.policies import named
from adainfd.replaying.report import differences, other_answers, table

__all__ = ["replay"]


def replay(trace: Path, policies: Sequence[str], *, check: bool, plot: Path | None) -> bool:
    """Decide again on `trace` and print the comparison; return False if `check` finds a decision that differs.

    policies: NAME or FILE replaces the general policy, CAMERA=NAME or CAMERA=FILE a camera's. plot: PNG file to draw.
    Raises InvalidInputError if the trace or a policy cannot be read, or if `check` is combined with policies.
    """
    from adainf.base import output
    from adainf.base.errors import InvalidInputError

    if check and policies:
        raise InvalidInputError("--check: compares with the recorded policies; leave out --policy")
    others, shown = named(policies), ", ".join(policies) or "the same policy"
    before, after = recorded(trace), replayed(trace, others)
    if unknown := {name for name in others if name is not None} - before.cameras:
        raise InvalidInputError(
            f"--policy {min(unknown)}=…: the trace has no such camera; it has {', '.join(sorted(before.cameras))}"
        )
    for broken in before.broken:
        output.show(f"trace {trace}: {broken}; replayed to there, and from the next part on")
    if before.lost:
        output.show(f"trace {trace}: {before.lost} lines could not be written, and are not compared")
    output.console().print(table(before, after, shown))
    if plot is not None:
        from adainfd.replaying.plot import draw

        draw(before, after, shown, plot)
        output.show(f"drawn: {plot}")
    if not check:
        return True
    budgets, answers = differences(before, after), other_answers(before, after)
    for line in (budgets + answers)[:10]:
        output.show(line)
    output.show(f"{len(budgets)} of {len(before.decisions)} budgets differ")
    if answers:
        output.show(f"{len(answers)} of {len(before.decisions)} frames are answered otherwise within the same budget")
    return not budgets and not answers
