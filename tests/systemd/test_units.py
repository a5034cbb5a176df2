"""The units, looked at without a running systemd, and what `make install` puts where."""

import os
import re
import shutil
import subprocess
import sys
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
    assert float(level[1]) <= 2.0


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


def test_a_package_is_made_below_destdir(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    settings = [f"DESTDIR={tmp_path}/root", f"PYTHON={python}", "VENV_OPTIONS=--without-pip", "EXTRAS="]
    fake = tmp_path / "root" / "opt" / "adainf" / "bin" / "pip"
    fake.parent.mkdir(parents=True)
    fake.write_text(f"#!/bin/sh\necho '#!{fake.parent}/python' > {fake.parent}/adainfd\n", encoding="utf-8")
    fake.chmod(0o755)
    (fake.parents[1] / "pyvenv.cfg").touch()

    def make(target: str) -> str:
        command = ["make", "-C", str(REPOSITORY), target, *settings]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    make("install")
    root = tmp_path / "root"
    assert (root / "opt/adainf/bin/adainfd").read_text(encoding="utf-8") == "#!/opt/adainf/bin/python\n"
    unit = (root / "usr/local/lib/systemd/system/adainfd@.service").read_text(encoding="utf-8")
    assert "ExecStart=/opt/adainf/bin/adainfd run --wait-for-cameras --config /etc/adainf/%i.toml\n" in unit
    assert {file.name for file in (root / "usr/local/lib/systemd/system").iterdir()} == {file.name for file in UNITS}
    assert (root / "usr/local/bin/adainfd").readlink() == Path("/opt/adainf/bin/adainfd")
    edited, untouched = root / "etc/adainf/policies/balanced.toml", root / "etc/adainf/edge.toml"
    edited.write_text("# mine\n", encoding="utf-8")
    untouched_before = untouched.read_text(encoding="utf-8")
    assert "stays" in make("install")
    assert edited.read_text(encoding="utf-8") == "# mine\n"
    assert edited.with_name("balanced.toml.new").is_file()
    assert untouched.read_text(encoding="utf-8") == untouched_before
    make("uninstall")
    assert [path for path in root.rglob("*") if not path.is_dir()] == [edited]


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
