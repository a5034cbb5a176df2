"""Locate the policies and profiles that ship with the program."""

from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError

__all__ = ["calibration_folder", "find"]


_ONE_OF = {"policies": "policy", "profiles": "profile"}


def calibration_folder() -> Path:
    """Return the shipped `calibration/` folder: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "calibration"
    return installed if installed.is_dir() else package.parent / "calibration"


def find(kind: str, name: str, suffix: str) -> Path:
    """Return the file that `name` refers to: a path, or a shipped name of this `kind` (`policies`, `profiles`).

    Raises InvalidInputError if there is none, listing the shipped names.
    """
    if "/" in name or Path(name).suffix:
        path = Path(name)
        if not files.is_file(path, _ONE_OF[kind]):
            raise InvalidInputError(f"{name}: no such file")
        return path
    shipped = {file.stem: file for file in sorted((calibration_folder() / kind).glob(f"*{suffix}"))}
    if name not in shipped:
        raise InvalidInputError(
            f"{name!r}: not a shipped name under {kind} ({', '.join(shipped)}), and not the path of a {suffix} file"
        )
    return shipped[name]
