"""Every `adainf` and `adainfd` command that the documents tell is one that the programs know, with its options."""

import re
import shlex
from pathlib import Path

import click
import pytest
from adainfd.cli import adainfd

from adainf.cli import cli as adainf

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "calibration" / "README.md", *(REPOSITORY / "docs").glob("*.md")]


def told(document: Path) -> list[str]:
    """The command lines in code blocks, fenced or indented."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^(?: {4}|\$ )?((?:\.venv/bin/|/opt/adainf/bin/)?adainfd? .*)$", text, re.MULTILINE)
    return [line for line in lines if not line.startswith("adainf is")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_is_known(document: Path) -> None:
    for line in told(document):
        name, *words = shlex.split(line, comments=True)
        command: click.Command = adainfd if name.endswith("d") else adainf
        while isinstance(command, click.Group):
            assert words, line
            word, *words = words
            known = command.get_command(click.Context(command), word)
            assert known is not None, f"{document.name}: {line}"
            command = known
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= {*options, "--help"}, f"{document.name}: {line}"


def test_there_are_some() -> None:
    assert sum(len(told(document)) for document in DOCUMENTS) > 20
