"""Loading PyTorch's shared libraries without blocking other threads."""

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load"]

# In the order in which importing torch loads them.
_LIBRARIES = ("libtorch_global_deps.so", "libtorch_cpu.so", "libtorch_cuda.so", "libtorch_python.so")


def load() -> None:
    """Load the libraries that the first import of torch would load, ignoring missing ones.

    An import loads a library while it holds the GIL, and these take up to a second, which would block every other
    thread. ctypes releases the GIL during a foreign call such as `dlopen`.
    """
    found = find_spec("torch")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for name in _LIBRARIES:
        # Like torch, make the symbols of the first library global.
        mode = os.RTLD_GLOBAL if name == _LIBRARIES[0] else os.RTLD_LOCAL
        dlopen(os.fsencode(folder / name), os.RTLD_LAZY | mode)
