"""PyTorch's libraries, loaded while other threads go on."""

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load"]

# In the order in which the first import of torch would load them.
_LIBRARIES = ("libtorch_global_deps.so", "libtorch_cpu.so", "libtorch_cuda.so", "libtorch_python.so")


def load() -> None:
    """Load the libraries that the first import of torch would load; one that is missing is left to that import.

    An import loads a library under Python's lock, and these take up to a second, for which every other thread would
    stand still. A foreign function such as `dlopen` is called without the lock.
    """
    found = find_spec("torch")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for name in _LIBRARIES:
        # The first one makes symbols known to all; torch loads it so.
        mode = os.RTLD_GLOBAL if name == _LIBRARIES[0] else os.RTLD_LOCAL
        dlopen(os.fsencode(folder / name), os.RTLD_LAZY | mode)
