"""The processor an engine runs on."""

import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

__all__ = ["processor_identity", "processor_name", "usable_processors"]


def usable_processors() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
