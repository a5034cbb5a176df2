"""The units, looked at without a running systemd, and what `make install` puts where."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
UNITS = sorted((REPOSITORY / "systemd").glob("*@.service"))

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")


for_each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)


@needs_analyze
@for_each_unit
def test_exposure_is_low(unit: Path) -> None:
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False
    )
    if "--offline" in result.stderr:
        pytest.skip("needs systemd-analyze of systemd 250 or newer")
    level = re.search(r"exposure level for \S+: ([0-9.]+)", result.stdout)
    assert level is not None, result.stderr
    assert float(level[1]) <= 1.5


@needs_analyze
@for_each_unit
def test_verify_is_silent(unit: Path, tmp_path: Path) -> None:
    """With commands that are there: where it is installed, the scenario verifies it as it is."""
    text = unit.read_text(encoding="utf-8").replace("/opt/adainf/bin/adainfd", "/bin/true")
    instance = tmp_path / f"{unit.stem}x.service"
    instance.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(instance)]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    ours = [line for line in result.stderr.splitlines() if unit.stem in line]
    assert (result.returncode, ours) == (0, []), result.stderr


BUILDING = ("pip", "hatchling", "packaging", "pathspec", "pluggy", "trove_classifiers")
"""The real pip, and what it builds the project with, without an index."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy that a test may change, at a path with a blank."""
    copy = tmp_path / "a checkout"
    unwanted = shutil.ignore_patterns(".*", "tests", "benchmarks", "__pycache__", "*.png", "*.svg")
    shutil.copytree(REPOSITORY, copy, ignore=unwanted)
    return copy


def make(checkout: Path, target: str, *settings: str) -> str:
    """What `make TARGET` says where pip is real, and has what it needs without an index."""
    tools = checkout.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name in BUILDING:
        found = find_spec(name)
        if found is None or found.origin is None:
            pytest.skip(f"needs {name}")
        if not (tools / name).exists():
            (tools / name).symlink_to(Path(found.origin).parent)
    options = "PIP_OPTIONS=--no-deps --no-build-isolation --no-index"
    command = ["make", "--silent", target, f"PYTHON={sys.executable}", "VENV_OPTIONS=--without-pip", "EXTRAS="]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PIP_"))}
    environment["PYTHONPATH"] = str(tools)
    result = subprocess.run(
        [*command, options, *settings], cwd=checkout, capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def contents(folder: Path) -> dict[str, bytes | str]:
    """Files and links below a folder; without what Python compiles, which holds times."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    return {
        name: str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for name, path in found.items()
        if path.is_symlink() or path.is_file()
    }


def test_a_package_is_made_below_destdir(tmp_path: Path, checkout: Path) -> None:
    """Made, made again and upgraded: with the real pip, and with blanks in the paths."""
    root = tmp_path / "the root"
    package = f"DESTDIR={root}"
    done = "install: done; edit /etc/adainf/edge.toml, then: systemctl enable --now adainfd@edge\n"
    assert make(checkout, "install", package) == done
    program = root / "opt/adainf/bin/adainfd"
    assert program.read_text(encoding="utf-8").startswith("#!/opt/adainf/bin/python")
    assert [name for name, held in contents(root / "opt/adainf/bin").items() if str(root) in str(held)] == []
    unit = (root / "usr/local/lib/systemd/system/adainfd@.service").read_text(encoding="utf-8")
    assert "ExecStart=/opt/adainf/bin/adainfd run --wait-for-cameras --config /etc/adainf/%i.toml\n" in unit
    assert {file.name for file in (root / "usr/local/lib/systemd/system").iterdir()} == {file.name for file in UNITS}
    assert (root / "usr/local/bin/adainfd").readlink() == Path("/opt/adainf/bin/adainfd")

    edited, untouched = root / "etc/adainf/policies/balanced.toml", root / "etc/adainf/edge.toml"
    edited.write_text("# mine\n", encoding="utf-8")
    before = contents(root)
    assert make(checkout, "install", package) == done
    assert contents(root) == before

    for file, was, now in (
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"'),
        ("calibration/policies/balanced.toml", "", "# upgraded\n"),
        ("systemd/edge.toml", "", "# upgraded\n"),
    ):
        text = (checkout / file).read_text(encoding="utf-8")
        (checkout / file).write_text(text.replace(was, now, 1), encoding="utf-8")
    told = (
        "install: /etc/adainf/policies/balanced.toml was changed and stays; the new one is policies/balanced.toml.new"
    )
    assert make(checkout, "install", package) == f"{told}\n{done}"
    assert program.read_text(encoding="utf-8").startswith("#!/opt/adainf/bin/python")
    versions = {path.name for path in root.glob("opt/adainf/lib/python*/site-packages/adainf-*")}
    assert versions == {"adainf-0.2.0.dist-info"}
    assert edited.read_text(encoding="utf-8") == "# mine\n"
    assert edited.with_name("balanced.toml.new").read_text(encoding="utf-8").startswith("# upgraded\n")
    assert untouched.read_text(encoding="utf-8").startswith("# upgraded\n")
    assert make(checkout, "install", package) == done

    runs = root / "var/lib/adainf-runs/doorway/adapter.safetensors"
    drop_in = root / "usr/local/lib/systemd/system/adainfd@edge.service.d/mine.conf"
    kept = [edited, runs, root / "var/lib/adainf/yard.mp4", root / "opt/adainf/notes.txt", drop_in]
    for file in kept[1:]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine\n", encoding="utf-8")
    said = make(checkout, "uninstall", package)
    assert {path for path in root.rglob("*") if not path.is_dir()} == set(kept)
    stays = [f"{root}/{path}" for path in ("etc/adainf", "opt/adainf", "var/lib/adainf", "var/lib/adainf-runs")]
    stays.append(str(drop_in.parent))
    assert [line.strip() for line in said.splitlines()[1:6]] == stays
    subprocess.run(["sh", "-c", said.splitlines()[-1]], check=True)
    assert not any(Path(path).exists() for path in stays)
    assert make(checkout, "uninstall", package) == "uninstall: done\n"


def test_folders_of_ones_own(tmp_path: Path, checkout: Path) -> None:
    """With blanks in their names; what cannot stand in a unit is refused, with nothing made."""
    folders = ("PREFIX=/srv/my adainf", "SYSCONFDIR=/srv/my etc/", "UNITDIR=/srv/units", "BINDIR=/srv/bin")
    root = tmp_path / "root"
    make(checkout, "install", f"DESTDIR={root}", *folders)
    unit = (root / "srv/units/adainfd@.service").read_text(encoding="utf-8")
    assert 'ExecStart="/srv/my adainf/bin/adainfd" run --wait-for-cameras --config "/srv/my etc/%i.toml"\n' in unit
    assert 'policy = "/srv/my etc/policies/balanced.toml"' in (root / "srv/my etc/edge.toml").read_text(
        encoding="utf-8"
    )
    assert str(root) not in (root / "srv/my adainf/bin/adainfd").read_text(encoding="utf-8")
    assert "/opt/adainf" not in unit
    assert make(checkout, "uninstall", f"DESTDIR={root}", *folders) == "uninstall: done\n"
    for wrong in ("PREFIX=/srv/100%", "SYSCONFDIR=etc", 'UNITDIR=/srv/"units"', "BINDIR=/srv/../bin"):
        command = ["systemd/install.sh", "install"]
        name, _, value = wrong.partition("=")
        environment = {**os.environ, "DESTDIR": f"{tmp_path}/no", name: value}
        result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, env=environment)
        assert (result.returncode, result.stderr.count("\n")) == (78, 1)
        assert wrong in result.stderr
        assert not (tmp_path / "no").exists()


def test_a_prefix_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    """Such as PREFIX=/usr."""
    pip = tmp_path / "usr" / "bin" / "pip"
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\n", encoding="utf-8")
    pip.chmod(0o755)
    settings = [f"DESTDIR={tmp_path}", "PREFIX=/usr", f"PYTHON={sys.executable}"]
    for target, status in (("install", 2), ("uninstall", 0)):
        command = ["make", "-C", str(REPOSITORY), target, *settings]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == status, result.stderr
        assert ("no virtual environment" in result.stderr) == bool(status)
        assert pip.is_file()
