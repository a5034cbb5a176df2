"""`adainfd adopt` and `adainfd rollback`: another run or profile in a configuration file, and the way back."""

import json
import os
import re
import shutil
from pathlib import Path

from adainf import files
from adainf.errors import InvalidInputError
from adainfd.settings import check

__all__ = ["adopt", "rollback"]

_BEFORE = ".before"
_SECTION = re.compile(r"^\s*\[")


def adopt(file: Path, changes: dict[str, str]) -> str:
    """Write `changes` (key → value) into the section [model] of `file`; what it was is kept in FILE.before.

    The new file is checked as a whole first: raises InvalidInputError, with nothing changed, on what is wrong in it.
    Returns a summary of the new configuration.
    """
    lines = files.read_text(file, "configuration").splitlines()
    candidate = _beside(file, ".new")
    try:
        shutil.copyfile(file, candidate)
        _same_access(file, candidate)
        candidate.write_text("\n".join(_changed(lines, changes)) + "\n", encoding="utf-8")
        summary = check(candidate)
        before = _beside(file, _BEFORE)
        shutil.copyfile(file, before)
        _same_access(file, before)
        candidate.replace(file)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    finally:
        candidate.unlink(missing_ok=True)
    return summary


def rollback(file: Path) -> str:
    """Put FILE.before in the place of `file`, and the other way round, so that a second time undoes this.

    Raises InvalidInputError, with nothing changed, where there is none, or something is wrong in it by now.
    """
    before = _beside(file, _BEFORE)
    if not files.is_file(before, "configuration"):
        raise InvalidInputError(f"configuration {file}: nothing to go back to; {before.name} is kept by adainfd adopt")
    summary = check(before)
    spare = _beside(file, ".spare")
    try:
        file.replace(spare)
        before.replace(file)
        spare.replace(before)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    return summary


def _beside(file: Path, suffix: str) -> Path:
    return file.parent / f"{file.name}{suffix}"  # of a folder's path too, which has no name


def _same_access(file: Path, other: Path) -> None:
    """The configuration may hold passwords: a copy is for the same readers."""
    status = file.stat()
    os.chown(other, status.st_uid, status.st_gid)
    other.chmod(status.st_mode & 0o777)


def _changed(lines: list[str], changes: dict[str, str]) -> list[str]:
    """The lines with these keys of [model] set: comments and all else stay."""
    start = next((number for number, line in enumerate(lines) if re.match(r"\s*\[model\]", line)), None)
    if start is None:
        lines, start = ["[model]", "", *lines], 0
    end = next((n for n in range(start + 1, len(lines)) if _SECTION.match(lines[n])), len(lines))
    kept = [line for line in lines[start + 1 : end] if not any(re.match(rf"\s*{key}\s*=", line) for key in changes)]
    # JSON's strings are TOML's.
    told = [f"{key} = {json.dumps(value)}" for key, value in changes.items()]
    return [*lines[: start + 1], *told, *kept, *lines[end:]]
