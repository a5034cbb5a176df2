"""glibc's allocator, set up for inference.

By default glibc maps and unmaps every large activation anew, which costs more than most operators: batch inference of
EfficientNet-Lite0 went from 24 to 91 images a second with these settings (`docs/performance.md`). They are read once,
when a process starts, so a command that computes starts itself again with them.
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
    """Replace this process by itself with the allocator set up; does nothing where that is done or not needed.

    An owner's own choice stands: any of the variables already set, or another allocator preloaded.
    """
    library, version = platform.libc_ver()
    if library != "glibc" or os.environ.keys() & _CHOSEN_BY_THE_OWNER:
        return
    # Before 2.35 a threshold above 32 MiB is ignored, and the other settings would freeze a low one.
    highest = 1 << 30 if tuple(map(int, version.split(".")[:2])) >= (2, 35) else 1 << 25
    settings = {**_TRIM_AND_PAD, _MMAP_THRESHOLD: str(highest)}
    restart({**os.environ, **settings})


def give_back() -> None:
    """Give memory that is free to the system: so set up, glibc keeps what a start took and runs never need again."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
