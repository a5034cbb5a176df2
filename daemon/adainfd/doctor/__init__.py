"""`adainfd doctor`: looks at all that a daemon needs here, and says of each thing what to do."""

import os
from collections.abc import Iterator
from pathlib import Path

from adainf.base.errors import printable
from adainfd.doctor.finding import Finding

__all__ = ["Finding", "examine", "line", "systemd"]

_WIDTH = 16
_LONGEST = 1000


def examine(file: Path | None) -> Iterator[Finding]:
    """Look at this box and, where `file` is given, at all that this configuration names; each finding as it comes.

    systemd is left to `systemd`: a service may not ask it.
    """
    # Before OpenCV is imported: what it would say stands in a finding. It would say addresses with their passwords.
    os.environ |= {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    os.environ.pop("OPENCV_FFMPEG_DEBUG", None)
    from adainfd.doctor import box, configured

    yield from box.examine()
    if file is not None:
        yield from configured.examine(file)


def systemd() -> Iterator[Finding]:
    """Look at the unit and its instances."""
    from adainfd.doctor import box

    yield from box.systemd()


def line(finding: Finding) -> str:
    """A finding as it is printed; its texts may hold names from elsewhere."""
    remedy = f"\n{'':{6 + _WIDTH}}→ {printable(finding.remedy, _LONGEST)}" if finding.remedy else ""
    subject, found = printable(finding.subject, _LONGEST), printable(finding.found, _LONGEST)
    return f"{finding.verdict:<4}  {subject:<{_WIDTH}}{found}{remedy}"
