"""Which libraries a part of the program brings in: what starts often or runs on small boxes must stay light."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "timm", "open_clip", "peft"}


def modules_after(code: str) -> set[str]:
    """The modules that a fresh Python holds after `code`."""
    program = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize(
    "module",
    [
        "adainf.branch",
        "adainf.profile",
        "adainf.schedulers",
        "adainf.preprocessing",
        "adainf.classes.taught",
        "adainfd.client",
        "adainfd.answering.pipeline",
        "adainfd.runtime.daemon",
        "adainfd.doctor.settings",
    ],
)
def test_what_runs_a_frame_needs_no_torch(module: str) -> None:
    modules = modules_after(f"import {module}")
    assert module in modules
    assert not HEAVY & modules


@pytest.mark.parametrize(
    "module",
    ["adainf.branch", "adainf.profile", "adainf.schedulers", "adainfd.client", "adainf.control"],
)
def test_what_decides_needs_no_opencv(module: str) -> None:
    modules = modules_after(f"import {module}")
    assert module in modules
    assert "cv2" not in modules


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("adainfd.client", {"msgspec", "zmq"}),
        ("adainfd.terminal.tail", {"msgspec", "zmq"}),
        ("adainfd.terminal.watch", {"msgspec", "zmq", "rich"}),
    ],
)
def test_what_reads_the_stream_needs_little(module: str, needs: set[str]) -> None:
    brought = modules_after(f"import {module}") - modules_after("")
    # msgspec takes typing_extensions where it is there; Cython makes a module of its own as zmq is loaded.
    others = {"adainf", "adainfd", "typing_extensions", "cython_runtime", *sys.stdlib_module_names}
    packages = {name.partition(".")[0] for name in brought} - others
    assert {name for name in packages if not name.startswith("_")} == needs


@pytest.mark.parametrize("package", ["adainf", "adainfd"])
def test_help_is_light(package: str) -> None:
    code = f"import {package}.cli\nsys.argv[1:] = ['--help']\ntry: {package}.cli.main()\nexcept SystemExit: pass"
    modules = modules_after(code)
    assert "click" in modules
    assert not (HEAVY | {"cv2", "pydantic", "onnxruntime"}) & modules
