"""Where the policies and profiles that come with the program are."""

from pathlib import Path

from adainf.errors import InvalidInputError

__all__ = ["calibration_folder", "find", "find_run"]


def calibration_folder() -> Path:
    """The shipped `calibration/` folder: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "calibration"
    return installed if installed.is_dir() else package.parent / "calibration"


def find(kind: str, name: str, suffix: str) -> Path:
    """The file that `name` means: a path, or the name of a shipped one of this `kind` (`policies`, `profiles`).

    Raises InvalidInputError where there is none, with the names that are shipped.
    """
    if "/" in name or Path(name).suffix:
        path = Path(name)
        if not path.is_file():
            raise InvalidInputError(f"{name}: no such file")
        return path
    folder = calibration_folder() / kind
    path = folder / f"{name}{suffix}"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in folder.glob(f"*{suffix}")))
        raise InvalidInputError(
            f"{name!r}: not a shipped name under {kind} ({shipped}), and not the path of a {suffix} file"
        )
    return path


def find_run(name: str) -> Path:
    """The folder that `name` means: a path, or the name of a shipped run; raises InvalidInputError as `find` does."""
    if "/" in name or Path(name).is_dir():
        if not Path(name).is_dir():
            raise InvalidInputError(f"run {name}: no such folder")
        return Path(name)
    folder = calibration_folder() / "runs"
    if not (folder / name).is_dir():
        shipped = ", ".join(sorted(path.name for path in folder.glob("*/"))) or "none"
        raise InvalidInputError(f"{name!r}: not a shipped name under runs ({shipped}), and not the path of a folder")
    return folder / name
