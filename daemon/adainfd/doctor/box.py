"""Checks of the machine: libraries, compute device, writable folders, systemd units."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from adainf.base import files
from adainf.base.errors import one_line
from adainf.process import home
from adainfd.base import state
from adainfd.doctor import confined, gpu
from adainfd.doctor.finding import Finding, fail, ok, warn

__all__ = ["examine", "readable_by_all", "systemd"]

_SYSTEMCTL_SECONDS = 10.0


def examine() -> Iterator[Finding]:
    """Check this machine, except systemd."""
    yield _opencv()
    yield from gpu.examine()
    yield from _folders()
    yield confined.examine()


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as error:
        if "libGL" in str(error):
            remedy = "apt-get install libgl1 (Fedora: mesa-libGL), or use opencv-python-headless"
            return fail("OpenCV", "libGL.so.1 is missing", remedy)
        return fail("OpenCV", f"cannot be imported ({one_line(error, 100)})", "install adainf again")
    return ok("OpenCV", cv2.__version__)


def _folders() -> Iterator[Finding]:
    from adainf.engines.cache import cache_folder

    for subject, folder in (("state folder", state.file("doctor", "").parent.parent), ("cache folder", cache_folder())):
        existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - that raises
        if (notice := home.notice()) is not None and folder.is_relative_to(os.environ["HOME"]):
            yield warn(subject, f"{folder}: is temporary", notice)
        elif (why := files.stranger(folder)) is not None:
            remedy = f"chown -R {os.geteuid()} {folder}, and chmod -R o-w it"
            yield warn(subject, f"{why}: what is kept there is not used", remedy)
        elif os.access(existing, os.W_OK | os.X_OK):
            yield ok(subject, str(folder))
        else:
            remedy = f"make it writable for user {os.getuid()}, or set XDG_STATE_HOME and XDG_CACHE_HOME"
            yield warn(subject, f"{folder}: cannot be written, so each start measures and exports anew", remedy)


def systemd() -> Iterator[Finding]:
    """Check the unit and its instances."""
    if shutil.which("systemctl") is None:
        yield warn("systemd", "is not here", "start adainfd run by what starts programs here")
        return
    found = _systemctl("cat", "adainfd@.service")
    if found is None or found.returncode:
        yield warn(
            "systemd", "the unit adainfd@.service is not installed", "make install, as docs/how-to/install.md tells"
        )
        return
    path = found.stdout.partition("\n")[0].removeprefix("# ")
    yield ok("systemd", f"unit {path}")
    listed = _systemctl("list-units", "--all", "--plain", "--no-legend", "adainfd@*")
    for words in map(str.split, listed.stdout.splitlines() if listed else []):
        unit, active = words[0], words[2]
        if active == "failed":
            yield warn("service", f"{unit} has failed", f"systemctl status {unit}, and journalctl -u {unit}")
        else:
            yield ok("service", f"{unit} is {active}")


def _systemctl(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    command = [str(shutil.which("systemctl")), "--no-pager", *arguments]
    try:
        return subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def readable_by_all(path: Path) -> bool:
    """Return whether every user of this machine may read the file."""
    return bool(path.stat().st_mode & 0o004)
