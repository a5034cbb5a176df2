"""This process's arguments, which every user of the box can read, cleared of possible passwords.

A program overwrites passwords in its own memory as soon as it runs. A child process, or the process itself on restart,
receives its arguments in an anonymous file and shows redacted ones in the process list.
"""

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from adainf.base.credentials import holds_password, without_credentials

__all__ = ["conceal", "concealed", "forget", "hand_over", "has_password", "restart", "take_over"]

_HANDED_OVER = "ADAINF_ARGUMENTS"
_FIELDS_BEFORE_BOUNDS = 45  # of /proc/PID/stat between the program's name and the bounds of its arguments (proc(5))


def take_over() -> None:
    """Replace this process's arguments by those handed over by its parent, if any."""
    descriptor = os.environ.pop(_HANDED_OVER, "")
    if not (descriptor.isascii() and descriptor.isdecimal() and _is_without_name(descriptor)):
        return
    with os.fdopen(int(descriptor), "rb") as file:
        file.seek(0)
        sys.argv[1:] = [os.fsdecode(argument) for argument in file.read().split(b"\0")[:-1]]


def _is_without_name(descriptor: str) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("/memfd:")
    except OSError:
        return False


def conceal() -> None:
    """Overwrite arguments of this process that may hold a password, where other users read them."""
    bounds = _bounds()
    if bounds is None or not has_password():
        return
    begin, end = bounds
    memory = ctypes.string_at(begin, end - begin).split(b"\0")
    for given, shown in zip(map(os.fsencode, sys.argv), map(os.fsencode, concealed(sys.argv)), strict=True):
        memory = [shown[: len(text)].ljust(len(text)) if text == given else text for text in memory]
    ctypes.memmove(begin, b"\0".join(memory), end - begin)


def _bounds() -> tuple[int, int] | None:
    """Return the memory addresses between which the kernel reads the arguments; None if it does not report them."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begin, end = map(int, fields[_FIELDS_BEFORE_BOUNDS : _FIELDS_BEFORE_BOUNDS + 2])
    except (OSError, ValueError):
        return None
    return (begin, end) if 0 < begin < end else None


def has_password() -> bool:
    """Return whether an argument of this process may hold a password."""
    return concealed(sys.argv) != sys.argv


def concealed(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with possible passwords hidden."""
    return [_concealed(argument) for argument in arguments]


def _concealed(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return f"{option}{equals}{without_credentials(value)}" if holds_password(value) else argument


def forget() -> None:
    """Drop passwords from `sys.argv` and `sys.orig_argv`, which Python passes on to each process that it starts."""
    sys.argv[:] = concealed(sys.argv)
    sys.orig_argv[:] = concealed(sys.orig_argv)


def hand_over(arguments: Sequence[str]) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
    """Prepare arguments for a child process without exposing passwords.

    Returns the arguments to show, the variables to add to the child's environment, and the descriptors that it must
    inherit; the caller closes these.
    """
    shown = concealed(arguments)
    if shown == list(arguments):
        return shown, {}, ()
    descriptor = os.memfd_create("arguments", 0)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(argument) + b"\0" for argument in arguments))
    return shown, {_HANDED_OVER: str(descriptor)}, (descriptor,)


def restart(environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the same program with the same arguments and the given environment."""
    interpreters = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    arguments, more, _ = hand_over(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *interpreters, *arguments], {**environment, **more})  # noqa: S606
