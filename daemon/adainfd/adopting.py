"""`adainfd adopt` and `adainfd rollback`: another run or profile in a configuration file, and the way back."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from adainf.base import files
from adainf.base.errors import AdainfError, InvalidInputError
from adainf.base.tomlfile import load
from adainfd.config.configuration import Configuration
from adainfd.doctor import eyes
from adainfd.model.selection import asked_for

__all__ = ["adopt", "rollback"]

_BEFORE = ".before"
_SECTION = re.compile(r"\s*\[")
_MODEL = re.compile(r"""\s*\[\s*(["']?)model\1\s*\]""")


def adopt(file: Path, *, run: str | None = None, profile: str | None = None) -> str:
    """Put a run or a profile into the section [model] of `file`, in force; what it was is kept in FILE.before.

    What would contradict it there is removed. The new file is checked as a whole first, with the eyes of the service
    that runs it. Raises InvalidInputError, with nothing changed, on what is wrong in it, UnavailableError where it
    cannot be checked. Returns a summary of the new configuration and of what was removed.
    """
    model = Configuration.read(file).model
    changes = asked_for(model, run=_absolute(run), profile=_absolute(profile))
    text = files.read_text(file, "configuration")
    candidate = _beside(file, ".new")
    try:
        # The configuration may hold passwords: a copy is for the same readers, from its first byte on.
        files.replace(candidate, _changed(text, changes).encode(), 0o600, like=file)
        summary = _checked(candidate, file, changes)
        files.replace(_beside(file, _BEFORE), file.read_bytes(), 0o600, like=file)
        candidate.replace(file)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    finally:
        candidate.unlink(missing_ok=True)
    replaced = {key: getattr(model, key) for key, value in changes.items() if value is None}
    removed = [f"{key} = {json.dumps(value)}" for key, value in replaced.items() if value is not None]
    return f"{summary}; removed: {', '.join(removed)}" if removed else summary


def rollback(file: Path) -> str:
    """Put FILE.before in the place of `file`, and the other way round, so that a second time undoes this.

    Raises InvalidInputError, with nothing changed, where there is none, or something is wrong in it by now.
    """
    before = _beside(file, _BEFORE)
    if not files.is_file(before, "configuration"):
        raise InvalidInputError(f"configuration {file}: nothing to go back to; adainfd adopt keeps FILE{_BEFORE}")
    summary = eyes.check(before, eyes.service_of(file))
    spare = _beside(file, ".spare")
    try:
        _narrow(before, file)
        file.replace(spare)
        before.replace(file)
        spare.replace(before)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    return summary


def _checked(candidate: Path, file: Path, changes: Mapping[str, str | None]) -> str:
    """The summary of the file that is to replace `file`, from which it may differ by the changes alone."""
    if not _differs_by(candidate, file, changes):
        raise InvalidInputError(f"configuration {file}: write [model] as a table with a line a key, then adopt")
    try:
        return eyes.check(candidate, eyes.service_of(file))
    except AdainfError as error:
        raise type(error)(str(error).replace(str(candidate), str(file))) from None


def _differs_by(candidate: Path, file: Path, changes: Mapping[str, str | None]) -> bool:
    before = load(file, "configuration")
    model = {**before.get("model", {}), **changes}
    try:
        now = load(candidate, "configuration")
    except InvalidInputError:  # a key that stands there twice
        return False
    return now == {**before, "model": {key: value for key, value in model.items() if value is not None}}


def _absolute(name: str | None) -> str | None:
    """A path as the service finds it too, which does not run in this folder; a shipped name as it is."""
    if name is None or not os.path.exists(name):  # noqa: PTH110 -- False for what can be no path
        return name
    # An absolute path stays as it was written, a link too.
    return name if os.path.isabs(name) else str(Path(name).parent.resolve() / Path(name).name)  # noqa: PTH117


def _beside(file: Path, suffix: str) -> Path:
    return file.parent / f"{file.name}{suffix}"  # of a folder's path too, which has no name


def _narrow(before: Path, file: Path) -> None:
    """What comes back is for the readers of what it replaces: the owner may have shut others out since."""
    found, now = before.stat(), file.stat()
    before.chmod(found.st_mode & now.st_mode & 0o777)
    if (found.st_uid, found.st_gid) != (now.st_uid, now.st_gid):
        os.chown(before, now.st_uid, now.st_gid)


def _changed(text: str, changes: Mapping[str, str | None]) -> str:
    """The text with these keys of [model] set, or removed where their value is None: comments and all else stay."""
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    # Other ends of line than TOML's, such as U+2028, may stand in a comment or a name.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    # JSON's strings are TOML's.
    told = [f"{key} = {json.dumps(value)}" for key, value in changes.items() if value is not None]
    start = next((number for number, line in enumerate(lines) if _MODEL.match(line)), None)
    if start is None:  # at the end, since the first keys of a file may belong to no section
        lines += ["", "[model]", *told]
    else:
        end = next((n for n in range(start + 1, len(lines)) if _SECTION.match(lines[n])), len(lines))
        ours = re.compile(rf"""\s*(["']?)({"|".join(changes)})\1\s*=""")
        lines[start + 1 : end] = [*told, *(line for line in lines[start + 1 : end] if not ours.match(line))]
    return "".join(line + end_of_line for line in lines)
