"""glibc's allocator, tuned for inference.

By default glibc maps and unmaps every large activation, which costs more than most operators;
`benchmarks/reports/performance.md` says how to measure the effect. glibc reads these settings only when a process
starts, so a command that computes restarts itself with them.
"""

import ctypes
import os
import platform

from adainf.process.arguments import restart

__all__ = ["give_back", "restart_with_tuned_allocator"]

_TRIM_AND_PAD = {"MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_TOP_PAD_": str(1 << 26)}
_MMAP_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
_CHOSEN_BY_THE_OWNER = {*_TRIM_AND_PAD, _MMAP_THRESHOLD, "LD_PRELOAD", "GLIBC_TUNABLES"}


def restart_with_tuned_allocator() -> None:
    """Restart this process with the allocator tuned; do nothing if it already is, or cannot be.

    An owner's choice takes precedence: any of the variables already set, or another allocator preloaded.
    """
    library, version = platform.libc_ver()
    if library != "glibc" or os.environ.keys() & _CHOSEN_BY_THE_OWNER:
        return
    # Before 2.35 glibc ignores a threshold above 32 MiB, and the other settings would freeze the low default.
    highest = 1 << 30 if tuple(map(int, version.split(".")[:2])) >= (2, 35) else 1 << 25
    settings = {**_TRIM_AND_PAD, _MMAP_THRESHOLD: str(highest)}
    restart({**os.environ, **settings})


def give_back() -> None:
    """Return free memory to the system: so tuned, glibc keeps what startup took and inference never needs again."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
