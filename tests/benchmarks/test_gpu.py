"""The GPU benchmark: what its steps find is kept, and a step that dies or takes too long is a missed limit."""

from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_STEP = """
import sys, time
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from gpu_findings import Findings
from tables import Figure
found = Findings(Path(sys.argv[sys.argv.index("--out") + 1]))
found.row("Times", ("", "ms"), "first", "1.0")
found.figure(Figure("fast enough", 1.0, 2.0))
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "seconds", "says", "last"),
    [
        ("raise RuntimeError('no graph')", 30.0, "own: exits with 1", "RuntimeError: no graph"),
        ("print('waits', flush=True); time.sleep(600)", 5.0, "own: takes more than 5 s", "waits"),
    ],
)
def test_a_step_that_does_not_end_well_is_a_missed_limit_beside_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, seconds: float, says: str, last: str
) -> None:
    monkeypatch.syspath_prepend(_BENCHMARKS)
    import gpu

    step, out = tmp_path / "step.py", tmp_path / "found.json"
    step.write_text(_STEP.format(benchmarks=str(_BENCHMARKS), ending=ending))
    monkeypatch.setitem(gpu.STEPS, "own", gpu.Part(str(step), seconds))
    found = gpu.ran("own", [], out, seconds)
    assert [table.rows for table in found.tables.values()] == [[("first", "1.0")]]
    assert [(figure.what, figure.met) for figure in found.figures] == [("fast enough", True), (says, False)]
    assert found.notes[-1].splitlines()[-1] == last
