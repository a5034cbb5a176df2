"""`adainfd adopt` and `adainfd rollback`: another run or profile in a configuration file, and the way back."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from adainf import files
from adainf.errors import AdainfError, InvalidInputError
from adainfd.config import Configuration
from adainfd.doctor import eyes
from adainfd.model import asked_for

__all__ = ["adopt", "rollback"]

_BEFORE = ".before"
_SECTION = re.compile(r"^\s*\[")


def adopt(file: Path, *, run: str | None = None, profile: str | None = None) -> str:
    """Put a run or a profile into the section [model] of `file`, in force; what it was is kept in FILE.before.

    What would contradict it there is removed. The new file is checked as a whole first, with the eyes of the service
    that runs it. Raises InvalidInputError, with nothing changed, on what is wrong in it, UnavailableError where it
    cannot be checked. Returns a summary of the new configuration and of what was removed.
    """
    model = Configuration.read(file).model
    changes = asked_for(model, run=_absolute(run), profile=_absolute(profile))
    lines = files.read_text(file, "configuration").splitlines()
    candidate = _beside(file, ".new")
    try:
        shutil.copyfile(file, candidate)
        _same_access(file, candidate)
        candidate.write_text("\n".join(_changed(lines, changes)) + "\n", encoding="utf-8")
        summary = _checked(candidate, file, changes)
        before = _beside(file, _BEFORE)
        shutil.copyfile(file, before)
        _same_access(file, before)
        candidate.replace(file)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    finally:
        candidate.unlink(missing_ok=True)
    removed = [f"{key} = {json.dumps(getattr(model, key))}" for key, value in changes.items() if value is None]
    told = [text for text in removed if not text.endswith(" null")]
    return f"{summary}; removed: {', '.join(told)}" if told else summary


def rollback(file: Path) -> str:
    """Put FILE.before in the place of `file`, and the other way round, so that a second time undoes this.

    Raises InvalidInputError, with nothing changed, where there is none, or something is wrong in it by now.
    """
    before = _beside(file, _BEFORE)
    if not files.is_file(before, "configuration"):
        raise InvalidInputError(f"configuration {file}: nothing to go back to; {before.name} is kept by adainfd adopt")
    summary = eyes.check(before, eyes.service_of(file))
    spare = _beside(file, ".spare")
    try:
        file.replace(spare)
        before.replace(file)
        spare.replace(before)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    return summary


def _checked(candidate: Path, file: Path, changes: Mapping[str, str | None]) -> str:
    """The summary of the file that is to replace `file`, in which the changes are in force."""
    try:
        model = Configuration.read(candidate).model
        if any(getattr(model, key) != value for key, value in changes.items()):
            raise InvalidInputError(
                f"configuration {candidate}: write [model] as a table with a line a key, then adopt"
            )
        return eyes.check(candidate, eyes.service_of(file))
    except AdainfError as error:
        raise type(error)(str(error).replace(str(candidate), str(file))) from None


def _absolute(name: str | None) -> str | None:
    """A path as the service finds it too, which does not run in this folder; a shipped name as it is."""
    if name is None or not os.path.exists(name):  # noqa: PTH110 -- False for what can be no path
        return name
    # An absolute path stays as it was written, a link too.
    return name if os.path.isabs(name) else str(Path(name).parent.resolve() / Path(name).name)  # noqa: PTH117


def _beside(file: Path, suffix: str) -> Path:
    return file.parent / f"{file.name}{suffix}"  # of a folder's path too, which has no name


def _same_access(file: Path, other: Path) -> None:
    """The configuration may hold passwords: a copy is for the same readers."""
    status = file.stat()
    os.chown(other, status.st_uid, status.st_gid)
    other.chmod(status.st_mode & 0o777)


def _changed(lines: list[str], changes: Mapping[str, str | None]) -> list[str]:
    """The lines with these keys of [model] set, or removed where their value is None: comments and all else stay."""
    start = next((number for number, line in enumerate(lines) if re.match(r"\s*\[model\]", line)), None)
    if start is None:
        lines, start = ["[model]", "", *lines], 0
    end = next((n for n in range(start + 1, len(lines)) if _SECTION.match(lines[n])), len(lines))
    kept = [line for line in lines[start + 1 : end] if not any(re.match(rf"\s*{key}\s*=", line) for key in changes)]
    # JSON's strings are TOML's.
    told = [f"{key} = {json.dumps(value)}" for key, value in changes.items() if value is not None]
    return [*lines[: start + 1], *told, *kept, *lines[end:]]
