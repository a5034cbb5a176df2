"""TOML and JSON from files: whatever stands there, read or refused in one line, in bounded time and memory."""

import os
import time
from pathlib import Path

import pytest
from hostile import HOSTILE

from adainf.base import documents
from adainf.base.errors import InvalidInputError

SECONDS = 10
"""More than any of them takes on a busy box; what has no bound takes minutes or all memory."""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(HOSTILE[name])
    began = time.monotonic()
    for read in (documents.toml_file, documents.json_file):
        said = f"policy {file}: "
        try:
            read(file, "policy")
        except InvalidInputError as error:
            said = str(error)
        assert said.startswith(f"policy {file}: ")
        assert len(said.splitlines()) == 1
        assert len(said) < 400
    documents.kept(file, lambda content: documents.parsed_json(content, "x"))
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" + ".a" * 33 + " = 1", "policy f: is not TOML: is nested too deeply (at line 1)"),
        ("\n[ a" + " . a" * 40 + " ]", "policy f: is not TOML: is nested too deeply (at line 2)"),
        ('"a"' + '."a"' * 40 + " = 1", "policy f: is not TOML: is nested too deeply (at line 1)"),
        ("x = " + "[" * 33, "policy f: is not TOML: is nested too deeply (at line 1)"),
        ('x = """a"""""\n' + "y" + ".y" * 40 + " = 1", "policy f: is not TOML: is nested too deeply (at line 2)"),
    ],
)
def test_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        documents.toml_file(Path("f"), "policy")
    assert str(refused.value) == why


def test_dots_and_brackets_that_are_no_nesting(tmp_path: Path) -> None:
    text = f"""
    # {"a." * 100} {"[" * 100}
    "{"." * 100}" = "{"../" * 100}"
    'x' = '{"[" * 100}'
    text = \"\"\"{"{" * 100} \\\"\"\" {"." * 100}\"\"\"
    literal = '''{"[." * 100}'''
    numbers = [{", ".join(["1.5"] * 100)}]
    pairs = [{", ".join(["[0.5, 1.0]"] * 100)}]
    a.b.c = 1
    """
    file = tmp_path / "file"
    file.write_text(text, encoding="utf-8")
    read = documents.toml_file(file, "policy")
    assert read["." * 100] == "../" * 100
    assert len(read["pairs"]) == 100
    assert read["a"] == {"b": {"c": 1}}


def test_files_of_ten_gigabytes_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, 10 << 30)
    for read in (documents.toml_file, documents.json_file):
        with pytest.raises(InvalidInputError, match="Is larger than"):
            read(file, "policy")
    assert documents.kept(file, bytes) is None
    assert documents.kept(tmp_path / "nosuch", bytes) is None


def test_what_only_a_parser_raises_is_refused_and_nothing_else(tmp_path: Path) -> None:
    for error in (RecursionError(), MemoryError(), OverflowError("too large"), ValueError("two\nlines")):
        with pytest.raises(InvalidInputError) as refused, documents.refusing("file f"):
            raise error
        assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(KeyboardInterrupt), documents.refusing("file f"):
        raise KeyboardInterrupt
