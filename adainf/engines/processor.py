"""The CPU: its name and identity, the usable cores, and thread affinity."""

import hashlib
import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["keeping_to", "processor_identity", "processor_name", "usable_processors"]


def usable_processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def keeping_to(processors: Collection[int]) -> Iterator[None]:
    """Pin the calling thread to these processors inside the context; do nothing if empty or not permitted."""
    before = os.sched_getaffinity(0) if processors else set()
    try:
        if processors:
            os.sched_setaffinity(0, processors)
    except OSError:  # the process has lost these processors since it started
        before = set()
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def processor_name() -> str:
    """Return the processor's name from /proc/cpuinfo, or its architecture if there is none."""
    return next(_told("model name", "Model", "Hardware"), platform.machine())


def processor_identity() -> str:
    """Return a key that differs between processors with different instruction sets."""
    features = next(_told("flags", "Features"), "")
    return f"{platform.machine()} {hashlib.sha256(features.encode()).hexdigest()}"


def _told(*keys: str) -> Iterator[str]:
    """Yield the values of the /proc/cpuinfo lines that begin with one of `keys`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield from (line.partition(":")[2].strip() for line in lines if line.startswith(keys))
