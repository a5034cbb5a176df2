"""The wheel: what is in it, and that it works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import wheels

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheels.built(REPOSITORY, tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


def test_it_holds_both_packages_and_what_they_ship(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"adainf/py.typed", "adainfd/py.typed", "adainf/calibration/policies/balanced.toml"} <= names
    for folder, package in (("adainf", "adainf"), ("daemon/adainfd", "adainfd")):
        sources = {f"{package}/{f.relative_to(REPOSITORY / folder)}" for f in (REPOSITORY / folder).rglob("*.py")}
        assert sources <= names
    calibration = REPOSITORY / "calibration"
    for pattern in ("policies/*.toml", "profiles/*.json"):
        shipped = {f"adainf/calibration/{f.relative_to(calibration)}" for f in calibration.glob(pattern)}
        assert shipped
        assert shipped <= names


def test_it_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"adainf", "adainfd"}
    assert not [name for name in wheel.namelist() if name.endswith((".pyc", ".pth", ".safetensors"))]


def test_it_names_both_commands(wheel: zipfile.ZipFile) -> None:
    (entries,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(entries).decode()
    assert "adainf = adainf.cli:main" in text
    assert "adainfd = adainfd.cli:main" in text


def test_installed_copy_finds_what_is_shipped(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    (tmp_path / "c.toml").write_text("[model]\npolicy = 'balanced'\n", encoding="utf-8")
    code = "import adainf, adainfd.cli; print(adainf.__file__); adainfd.cli.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "check-config", "c.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.startswith(str(tmp_path / "site"))
    assert "c.toml: good" in result.stdout, result.stderr
    assert (result.returncode, result.stderr) == (0, "")
