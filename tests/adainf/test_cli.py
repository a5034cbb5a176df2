import subprocess
import sys
from importlib.metadata import version

import pytest

PROGRAM = (sys.executable, "-c", "from adainf.cli import main; main()")


def run(*arguments):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_version():
    assert run("--version").stdout.strip().endswith(version("adainf"))


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_names_the_commands(arguments):
    ended = run(*arguments)
    assert ended.returncode == 0
    assert all(command in ended.stdout for command in ("calibrate", "evaluate", "measure"))


def test_help_imports_nothing_heavy():
    code = "import sys, adainf.cli; print(sorted({'torch', 'cv2', 'pydantic', 'numpy', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("calibrat",), "calibrat"),
        (("calibrate",), "Missing option"),
        (("measure",), "Missing argument"),
        (("measure", "nothing-shipped"), "not a shipped name"),
        (("measure", "nowhere.json"), "no such file"),
        (("measure", "p.json", "--engine", "abacus"), "abacus"),
        (("evaluate", "--profile", "p.json"), "--images"),
        (("evaluate", "--run", "nowhere", "--images", "."), "run nowhere: no such folder"),
    ],
)
def test_wrong_usage_is_one_line_and_status_78(arguments, says):
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (78, "", 1)
    assert says in ended.stderr


@pytest.mark.parametrize("options", [("evaluate", "--images", "."), ("export", "--budget", "0.5", "--out", "a.onnx")])
def test_a_profile_that_would_use_nothing_of_the_run_is_refused(options, profile, trained, refused):
    assert "was calibrated without run" in refused(*options, "--profile", profile, "--run", trained)
