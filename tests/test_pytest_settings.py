"""The suite runs whatever else is installed beside it."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PLUGIN = """
import warnings

def pytest_configure(config):
    warnings.warn("Benchmarks are automatically disabled because xdist plugin is active.")
"""


def test_pytest_benchmark_beside_it_does_no_harm(tmp_path: Path) -> None:
    """It warns where pytest-xdist is active, and this suite makes errors of warnings."""
    installed = tmp_path / "pytest_benchmark-4.0.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-benchmark\nVersion: 4.0.0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nbenchmark = pytest_benchmark_plugin\n")
    (tmp_path / "pytest_benchmark_plugin.py").write_text(PLUGIN)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests/adainf/test_errors.py"]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
