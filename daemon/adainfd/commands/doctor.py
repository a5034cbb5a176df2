"""`adainfd doctor`: check what a daemon needs on this box, with remedies."""

import sys
from itertools import chain
from pathlib import Path

import click

__all__ = ["command"]


@click.command("doctor")
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
def command(file: Path | None) -> None:
    """Look at all that a daemon needs on this box and, with a configuration FILE, at all that it names.

    Root looks at a service's configuration with the eyes of the service. Exits with 1 where something fails.
    """
    from adainfd.doctor import examine, eyes, line, systemd

    service = None if file is None else eyes.service_of(file)
    findings = chain(() if eyes.is_service() else systemd(), () if service else examine(file))
    failed = False
    for finding in findings:
        click.echo(line(finding))
        failed = failed or finding.verdict == "fail"
    if service is not None and file is not None:
        failed = not eyes.examine(file, service)
    if failed:
        sys.exit(1)
