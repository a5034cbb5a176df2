"""The GPU benchmark: what its steps find is kept, and a step that dies or takes too long is a missed limit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
import gpu
from tables import Figure
program = Path({step!r})
gpu.STEPS["own"] = gpu._Part(str(program), {seconds})
found = gpu.ran("own", [], Path({out!r}), {seconds})
print(len(found.tables), [(figure.what, figure.met) for figure in found.figures])
print(found.notes[-1].splitlines()[-1])
"""
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
        ("print('waits', flush=True); time.sleep(60)", 4.0, "own: takes more than 4 s", "waits"),
    ],
)
def test_a_step_that_does_not_end_well_is_a_missed_limit_beside_what_it_found(
    tmp_path: Path, ending: str, seconds: float, says: str, last: str
) -> None:
    step, out = tmp_path / "step.py", tmp_path / "found.json"
    step.write_text(_STEP.format(benchmarks=str(_BENCHMARKS), ending=ending))
    program = _PROGRAM.format(benchmarks=str(_BENCHMARKS), step=str(step), out=str(out), seconds=seconds)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    found, note = ran.stdout.splitlines()
    assert found == f"1 [('fast enough', True), ('{says}', False)]"
    assert note == last
    assert json.loads(out.read_text())["figures"][0]["value"] == 1.0
