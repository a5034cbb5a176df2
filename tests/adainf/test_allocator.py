import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is tuned")

PROGRAM = """\
import os, sys
with open(sys.argv[1], "a") as starts:
    print(os.getpid(), file=starts)
from adainf.process.allocator import restart_with_tuned_allocator
restart_with_tuned_allocator()
print(os.getpid(), sys.argv[2:], sorted(key for key in os.environ if key.startswith("MALLOC_")))
"""
TUNED = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"]


def run(folder: Path, **environment: str) -> tuple[str, list[str]]:
    """What PROGRAM printed, and its process id at each start."""
    (folder / "program.py").write_text(PROGRAM)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "LD_PRELOAD"))}
    done = subprocess.run(
        [sys.executable, "-B", str(folder / "program.py"), str(folder / "starts"), "an argument", "--flag"],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip(), (folder / "starts").read_text().split()


def test_starts_again_once_with_the_same_arguments(tmp_path: Path) -> None:
    printed, starts = run(tmp_path)
    assert len(starts) == 2
    assert len(set(starts)) == 1
    assert printed == f"{starts[0]} ['an argument', '--flag'] {TUNED}"


@pytest.mark.parametrize("name", ["MALLOC_TOP_PAD_", "LD_PRELOAD"])
def test_choice_of_the_owner_stands(name: str, tmp_path: Path) -> None:
    printed, starts = run(tmp_path, **{name: "" if name == "LD_PRELOAD" else "1"})
    assert len(starts) == 1
    assert printed.endswith("['MALLOC_TOP_PAD_']" if name == "MALLOC_TOP_PAD_" else "[]")
