"""What the doctor says of one thing."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fail", "ok", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """ok; warn: the daemon runs, but not as well as it could; fail: it does not. remedy: what to do."""

    verdict: Literal["ok", "warn", "fail"]
    subject: str
    found: str
    remedy: str | None = None


def ok(subject: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", subject, found)


def warn(subject: str, found: str, remedy: str) -> Finding:
    """It runs, but."""
    return Finding("warn", subject, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Finding:
    """It does not run."""
    return Finding("fail", subject, found, remedy)
