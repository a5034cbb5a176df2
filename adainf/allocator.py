"""glibc's allocator, set up for inference.

By default glibc maps and unmaps every large activation anew, which costs more than most operators: batch inference of
EfficientNet-Lite0 went from 24 to 91 images a second with these settings (`docs/performance.md`). They are read once,
when a process starts, so a command that computes starts itself again with them.
"""

import os
import platform
import sys

__all__ = ["restart_with_tuned_allocator"]

_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


def restart_with_tuned_allocator() -> None:
    """Replace this process by itself with the allocator set up; does nothing where that is done or not needed.

    An owner's own choice stands: any of the variables already set, or another allocator preloaded.
    """
    if platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ or os.environ.keys() & _SETTINGS.keys():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **_SETTINGS})  # noqa: S606
