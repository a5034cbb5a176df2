"""Findings of the doctor."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fail", "ok", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    verdict: ok; warn, the daemon runs, but not as well as it could; fail, it does not run. remedy: what to do.
    """

    verdict: Literal["ok", "warn", "fail"]
    subject: str
    found: str
    remedy: str | None = None


def ok(subject: str, found: str) -> Finding:
    """Return a finding without a problem."""
    return Finding("ok", subject, found)


def warn(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding about a problem that the daemon can run with."""
    return Finding("warn", subject, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding about a problem that keeps the daemon from running."""
    return Finding("fail", subject, found, remedy)
