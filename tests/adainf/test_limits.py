import resource
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from adainf.process import limits
from adainf.base.errors import AdainfError
soft, hard, count = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    limits.have_files(count, "3 cameras")
except AdainfError as error:
    print(error)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def told(*limits: int) -> list[str]:
    command = [sys.executable, "-c", CODE, *map(str, limits)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("soft", "hard", "count", "after"),
    [(100, 200, 90, "100 200"), (100, 200, 150, "200 200"), (100, 200, 200, "200 200")],
)
def test_the_soft_limit_is_raised_where_that_helps(soft: int, hard: int, count: int, after: str) -> None:
    assert told(soft, hard, count) == [after]


def test_a_hard_limit_is_told() -> None:
    line, after = told(60, 80, 81)
    assert "3 cameras" in line
    assert "81" in line
    assert "80" in line
    assert "ulimit -n" in line
    assert after == "60 80"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] != 80
