"""The threat model names, for each attacker, a test that is there."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs/explanation/security.md").read_text(encoding="utf-8")
HELD_OFF = PAGE.partition("\n## Held off\n")[2].partition("\n## ")[0]


def test_every_row_names_a_test_that_is_there() -> None:
    _, _, *rows = [line for line in HELD_OFF.splitlines() if line.startswith("|")]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
            tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert not test or test in tests, row
