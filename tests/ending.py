"""Threads of a program ended from outside: by an exception that is raised in the midst of their work."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["breakable", "end"]

_CODE = """
import ctypes, os, pathlib, threading, time
def watch():
    while True:
        time.sleep(0.02)
        for thread in threading.enumerate():
            file = pathlib.Path(os.environ["END_THREADS"], thread.name)
            if file.exists():
                error = ctypes.py_object(ZeroDivisionError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), error)
                file.unlink()
if os.environ.get("END_THREADS_OF") != str(os.getppid()):
    os.environ["END_THREADS_OF"] = str(os.getpid())  # not of what this process starts
    threading.Thread(target=watch, daemon=True).start()
"""


def breakable(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program whose threads `end` ends. folder: the same there."""
    (folder / "sitecustomize.py").write_text(_CODE, encoding="utf-8")
    return {"PYTHONPATH": f"{folder}:{environment.get('PYTHONPATH', '')}", "END_THREADS": str(folder)}


def end(folder: Path, thread: str) -> None:
    """End the thread of this name."""
    (folder / thread).touch()
