"""No version with a known hole may be installed; what becomes known later is told by `.ci/audit`."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]

HOLES = (
    ("onnx", "CVE-2024-5187", "1.16.2"),
    ("onnx", "CVE-2024-7776", "1.17.0"),
    ("onnx", "CVE-2025-51480", "1.21.0"),
    ("onnx", "CVE-2026-27489", "1.21.0"),
    ("onnx", "CVE-2026-34445", "1.21.0"),
    ("onnx", "CVE-2026-34446", "1.21.0"),
    ("opencv-python", "CVE-2023-4863", "4.8.1.78"),
    ("opencv-python", "CVE-2025-53644", "4.12.0"),
    ("pillow", "CVE-2023-4863", "10.0.1"),
    ("pillow", "CVE-2023-50447", "10.2.0"),
    ("pillow", "CVE-2024-28219", "10.3.0"),
    ("pillow", "CVE-2026-25990", "12.1.1"),
    ("pillow", "CVE-2026-42308", "12.2.0"),
    ("pydantic", "CVE-2024-3772", "2.4.0"),
    ("torch", "CVE-2025-32434", "2.6.0"),
    ("torch", "CVE-2026-24747", "2.10.0"),
    ("transformers", "CVE-2024-11392", "4.48.0"),
    ("transformers", "CVE-2026-1839", "5.0.0"),
    ("transformers", "CVE-2026-4372", "5.3.0"),
)
"""Package, hole, and the version that mended it."""


@pytest.fixture(scope="module")
def requirements() -> dict[str, Requirement]:
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    parsed = [Requirement(line) for line in told["project"]["dependencies"]]
    return {requirement.name: requirement for requirement in parsed}


@pytest.mark.parametrize(("package", "hole", "mended"), HOLES)
def test_no_version_with_a_known_hole_is_allowed(
    requirements: dict[str, Requirement], package: str, hole: str, mended: str
) -> None:
    bounds = [Version(part.version) for part in requirements[package].specifier if part.operator == ">="]
    assert max(bounds) >= Version(mended), f"{package} before {mended} has {hole}"


def test_what_is_installed_is_allowed(requirements: dict[str, Requirement]) -> None:
    for name, requirement in requirements.items():
        assert requirement.specifier.contains(version(name), prereleases=True), requirement


def test_torchvision_fits_the_oldest_torch(requirements: dict[str, Requirement]) -> None:
    """torchvision 0.N is made for torch 2.(N - 15)."""
    oldest = {
        name: max(Version(part.version) for part in requirements[name].specifier if part.operator == ">=")
        for name in ("torch", "torchvision")
    }
    assert oldest["torchvision"].minor - oldest["torch"].minor == 15


VULNERABLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"]}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}, SKIPPED], 0, "audit: 1 of 2 packages, 0 known vulnerabilities"),
        ([{"name": "a", "version": "1", "vulns": [VULNERABLE]}], 1, "a 1: PYSEC-1, CVE-1; mended in 2.0"),
        ([SKIPPED], 0, "not audited"),
        (
            "import sys; sys.exit('ConnectionError: api.example.org')",
            0,
            "(ConnectionError: api.example.org): not audited",
        ),
        ("import time; time.sleep(60)", 0, "no answer within 1 s): not audited"),
        ("print('[]')", 0, "not audited"),
        ("", 0, "(no answer): not audited"),
    ],
)
def test_audit_says_what_came_of_it(tmp_path: Path, program: object, status: int, said: str) -> None:
    code = program if isinstance(program, str) else f"print({json.dumps(json.dumps({'dependencies': program}))})"
    (tmp_path / "pip_audit.py").write_text(code, encoding="utf-8")
    waits = "sleep" in code
    script = (REPOSITORY / ".ci" / "audit").read_text(encoding="utf-8")
    (tmp_path / "audit.py").write_text(script.replace("= 15", "= 1") if waits else script, encoding="utf-8")
    for arguments, expected in (([], 0), (["--strict"], status)):
        command = [sys.executable, "audit.py", *arguments]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
        assert (told.returncode, told.stderr) == (expected, "")
        assert said in told.stdout
