"""The processor an engine runs on."""

import hashlib
import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["keeping_to", "processor_identity", "processor_name", "usable_processors"]


def usable_processors() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def keeping_to(processors: Collection[int]) -> Iterator[None]:
    """Meanwhile the calling thread runs on these alone; anywhere where there are none, or it may not run on them."""
    before = os.sched_getaffinity(0) if processors else set()
    try:
        if processors:
            os.sched_setaffinity(0, processors)
    except OSError:  # they were taken from this process after it had begun
        before = set()
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def processor_name() -> str:
    """The processor's name as the system gives it, or else its architecture."""
    return next(_told("model name", "Model", "Hardware"), platform.machine())


def processor_identity() -> str:
    """Tells processors apart that run other instructions."""
    features = next(_told("flags", "Features"), "")
    return f"{platform.machine()} {hashlib.sha256(features.encode()).hexdigest()}"


def _told(*keys: str) -> Iterator[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield from (line.partition(":")[2].strip() for line in lines if line.startswith(keys))
