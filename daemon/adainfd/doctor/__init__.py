"""`adainfd doctor`: checks everything a daemon needs on this machine and suggests a remedy for each problem."""

import os
from collections.abc import Iterator
from pathlib import Path

from adainf.base.errors import printable
from adainfd.doctor.finding import Finding

__all__ = ["Finding", "examine", "line", "systemd"]

_WIDTH = 16
_LONGEST = 1000


def examine(file: Path | None) -> Iterator[Finding]:
    """Check this machine and, if `file` is given, everything that configuration names; yield findings as they come.

    systemd is left to `systemd`, as a service may not query it.
    """
    # Set before OpenCV is imported: its messages duplicate the findings and contain addresses with passwords.
    os.environ |= {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    os.environ.pop("OPENCV_FFMPEG_DEBUG", None)
    from adainfd.doctor import box, configured

    yield from box.examine()
    if file is not None:
        yield from configured.examine(file)


def systemd() -> Iterator[Finding]:
    """Check the unit and its instances."""
    from adainfd.doctor import box

    yield from box.systemd()


def line(finding: Finding) -> str:
    """Format a finding for printing, with unprintable characters escaped: its texts may contain untrusted names."""
    remedy = f"\n{'':{6 + _WIDTH}}→ {printable(finding.remedy, _LONGEST)}" if finding.remedy else ""
    subject, found = printable(finding.subject, _LONGEST), printable(finding.found, _LONGEST)
    return f"{finding.verdict:<4}  {subject:<{_WIDTH}}{found}{remedy}"
