"""A step of gpu.py: what is installed, `adainfd doctor`, the tests that need a GPU, and the exports of a later step."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from gpu_daemon import environment
from gpu_findings import Findings, Step, arguments
from tables import Figure

_PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "opencv-python", "opencv-python-headless")
_LINES = 24
_AT_ONCE = 6  # the tests mostly plan convolutions, which is work for the CPU
_SECONDS = {"cuda": 80, "cpu": 400}
_EXPORTS = """
import structlog
from adainfd.config.configuration import Configuration
from adainfd.model.selection import read_profile
from adainfd.model.recogniser import load_recogniser
configuration = Configuration.model_validate({"model": {"device": "cpu"}})
load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())
"""


def versions(found: Findings) -> None:
    """Note the versions of Python and the relevant packages."""
    lines = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except ImportError:
            continue
    found.note(", ".join(lines))


def checks(step: Step, found: Findings) -> None:
    """Run doctor and the tests while the exports are being made."""
    home = environment(step.work / "with-exports")
    with subprocess.Popen([sys.executable, "-c", _EXPORTS], env=home, stdout=subprocess.DEVNULL) as exports:
        try:
            doctor = [sys.executable, "-m", "adainfd", "doctor"]
            report = subprocess.run(doctor, capture_output=True, text=True, timeout=60, check=False, env=home)
            found.note(f"adainfd doctor exits with {report.returncode}\n{report.stdout.strip()}")
            _tests(step, found)
            status = exports.wait(30 if step.device == "cuda" else 200)
            found.figure(Figure("making the exports: exit status", status, 0, form="{:.0f}"))
        finally:
            exports.kill()


def _tests(step: Step, found: Findings) -> None:
    root = Path(__file__).parents[1]
    marked = [str(file) for file in sorted(root.glob("tests/**/test_*.py")) if "pytest.mark.gpu" in file.read_text()]
    marked += ["-m", "gpu", "-n", str(_AT_ONCE)] if step.device == "cuda" else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "--durations=5"]
    output = step.work / "tests.txt"
    with output.open("wb") as log:
        try:
            status: int | None = subprocess.run(
                [*command, *marked], cwd=root, stdout=log, stderr=log, timeout=_SECONDS[step.device], check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
    found.note("\n".join(output.read_text(errors="replace").strip().splitlines()[-_LINES:]))
    name = "GPU tests: exit status" if status is not None else f"GPU tests: take more than {_SECONDS[step.device]} s"
    found.figure(Figure(name, 1 if status is None else status, 0, form="{:.0f}"))


def main() -> int:
    """Run the checks; return the exit status."""
    step, found, _ = arguments(__doc__)
    versions(found)
    checks(step, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
