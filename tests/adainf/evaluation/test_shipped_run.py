"""The shipped run, on photographs that chose nothing of it."""

import json

import pytest

from adainf.run import Run
from adainf.shipped import find_run

# benchmarks/reports/results.md; by ceiling on the MACs.
DOCUMENTED = {1.0: 0.856, 0.67: 0.82, 0.5: 0.756, 0.33: 0.692, 0.25: 0.656}


def test_shipped_run_is_as_good_as_documented(done, demo_weights, imagenet):
    pictures = ("--weights", demo_weights, "--images", imagenet, "--part", "2/2", "--threads", 1)
    ceilings = ("--ceilings", ",".join(map(str, DOCUMENTED)))
    points = json.loads(done("evaluate", "--run", "efficientnet-lite0", *pictures, *ceilings, "--json"))
    found = {point["ceiling"]: point["top1"] for point in points}
    assert found == pytest.approx(DOCUMENTED, abs=0.008)  # two pictures of 250: processors round otherwise
    assert all(point["macs_fraction"] <= point["ceiling"] for point in points)


def test_shipped_run_is_whole_and_small(demo_weights):
    run = Run.read(find_run("efficientnet-lite0"))
    assert run.profile_path.is_file()
    assert sum(file.stat().st_size for file in run.folder.iterdir()) <= 4 << 20
