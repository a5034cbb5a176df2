"""`adainfd adopt` and `adainfd rollback`: switch a configuration to another run or profile, or classes, and back."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from adainf.base import files
from adainf.base.errors import AdainfError, InvalidInputError
from adainf.base.tomlfile import load
from adainf.classes.taught import Taught, before_of
from adainfd.config.configuration import Configuration
from adainfd.doctor import eyes
from adainfd.model.selection import asked_for

__all__ = ["adopt", "rollback", "rollback_classes"]

_BEFORE = ".before"
_SECTION = re.compile(r"\s*\[")
_MODEL = re.compile(r"""\s*\[\s*(["']?)model\1\s*\]""")


def adopt(file: Path, *, run: Path | None = None, profile: str | None = None) -> str:
    """Set the run or profile in the [model] section of `file` and keep the previous file as FILE.before.

    Conflicting keys are removed. The complete new file is validated first, as the service user that runs it. Returns
    a summary of the new configuration and of the removed keys. On an error nothing is changed: raises
    InvalidInputError if the new file is invalid, UnavailableError if it cannot be checked.
    """
    model = Configuration.read(file).model
    changes = asked_for(model, run=_absolute(run), profile=_absolute(profile))
    text = files.read_text(file, "configuration")
    candidate = _beside(file, ".new")
    try:
        # The configuration may hold passwords, so the copy has the original's permissions from its first byte on.
        files.replace(candidate, _changed(text, changes).encode(), 0o600, like=file)
        summary = _checked(candidate, file, changes)
        files.replace(_beside(file, _BEFORE), file.read_bytes(), 0o600, like=file)
        candidate.replace(file)
    except OSError as error:
        raise InvalidInputError(f"configuration {file}: cannot be written ({error.strerror})") from None
    finally:
        candidate.unlink(missing_ok=True)
    replaced = {key: getattr(model, key) for key, value in changes.items() if value is None}
    removed = [f"{key} = {json.dumps(str(value))}" for key, value in replaced.items() if value is not None]
    return f"{summary}; removed: {', '.join(removed)}" if removed else summary


def rollback(file: Path) -> str:
    """Swap `file` and FILE.before and return a summary of the restored configuration; a second call swaps back.

    Raises InvalidInputError, with nothing changed, if FILE.before is missing or no longer valid.
    """
    before = _beside(file, _BEFORE)
    if not files.is_file(before, "configuration"):
        raise InvalidInputError(f"configuration {file}: nothing to go back to; adainfd adopt keeps FILE{_BEFORE}")
    summary = eyes.check(before, eyes.service_of(file))
    _swap(file, before, "configuration")
    return summary


def rollback_classes(file: Path) -> str:
    """Swap `file` and FILE.before, which `adainf teach` kept, and return a summary of the restored classes.

    A second call swaps back. Raises InvalidInputError, with nothing changed, if one is missing or FILE.before damaged.
    """
    before = before_of(file)
    files.check_file(file, "classes")
    if not files.is_file(before, "classes"):
        raise InvalidInputError(f"classes {file}: nothing to go back to; adainf teach keeps FILE{_BEFORE}")
    taught = Taught.read(before)
    _swap(file, before, "classes")
    return f"{', '.join(taught.labels)}, {len(taught.familiar)} branches"


def _swap(file: Path, before: Path, kind: str) -> None:
    """Swap two files; there is a whole `file` at every moment."""
    spare = _beside(file, ".spare")
    try:
        _narrow(before, file)
        files.replace(spare, file.read_bytes(), 0o600, like=file)
        before.replace(file)
        spare.replace(before)
    except OSError as error:
        raise InvalidInputError(f"{kind} {file}: cannot be written ({error.strerror})") from None


def _checked(candidate: Path, file: Path, changes: Mapping[str, str | None]) -> str:
    """Validate `candidate` and return its summary; it may differ from `file` only by `changes`."""
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
    except InvalidInputError:  # a duplicate key
        return False
    return now == {**before, "model": {key: value for key, value in model.items() if value is not None}}


def _absolute(name: str | Path | None) -> str | None:
    """Make a path absolute, since the service runs in another working directory; return a shipped name unchanged."""
    if name is None:
        return None
    name = str(name)
    if not os.path.exists(name):  # noqa: PTH110 -- returns False on an invalid path
        return name
    # Keep an absolute path as written, without resolving symlinks.
    return name if os.path.isabs(name) else str(Path(name).parent.resolve() / Path(name).name)  # noqa: PTH117


def _beside(file: Path, suffix: str) -> Path:
    return file.parent / f"{file.name}{suffix}"  # unlike with_name, accepts a path without a name, such as "/"


def _narrow(before: Path, file: Path) -> None:
    """Limit `before` to the owner and permissions of `file`, which may have been tightened since."""
    found, now = before.stat(), file.stat()
    before.chmod(found.st_mode & now.st_mode & 0o777)
    if (found.st_uid, found.st_gid) != (now.st_uid, now.st_gid):
        os.chown(before, now.st_uid, now.st_gid)


def _changed(text: str, changes: Mapping[str, str | None]) -> str:
    """Return the text with `changes` applied to [model], where None removes a key; comments and the rest are kept."""
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    # Not splitlines(): U+2028 and others that are not TOML line endings may occur in comments and names.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    # A JSON string is also a valid TOML string.
    settings = [f"{key} = {json.dumps(value)}" for key, value in changes.items() if value is not None]
    start = next((number for number, line in enumerate(lines) if _MODEL.match(line)), None)
    if start is None:  # append the section: keys at the start of the file may belong to no section
        lines += ["", "[model]", *settings]
    else:
        end = next((n for n in range(start + 1, len(lines)) if _SECTION.match(lines[n])), len(lines))
        ours = re.compile(rf"""\s*(["']?)({"|".join(changes)})\1\s*=""")
        lines[start + 1 : end] = [*settings, *(line for line in lines[start + 1 : end] if not ours.match(line))]
    return "".join(line + end_of_line for line in lines)
