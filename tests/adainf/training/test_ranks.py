import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

TRAINING = """
import os
import torch
from adainf.training.ranks import joined

with joined() as ranks:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())  # imports more of torch
    layer(torch.ones(1, 2)).sum().backward()
    ranks.average_gradients(layer.parameters())
    optimizer.step()
    connected = {open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")}
    assert any("gloo" in name for name in connected), connected
left = {open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")}
assert not any("gloo" in name for name in left), left
"""


def by_two(*arguments, program="from adainf.cli import main; main()"):
    """A command in two processes that torchrun starts."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    program = [sys.executable, "-c", program, *map(str, arguments)]
    settings = {"MALLOC_TOP_PAD_": "0", "SOURCE_DATE_EPOCH": "1790000000", "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [*torchrun, *program], capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )


def test_two_processes_learn_what_one_learns(done, network, pictures, tmp_path):
    settings = (*network, "--images", pictures, "--steps", 3, "--learning-rate", 0.001)
    done("train", *settings, "--out", tmp_path / "one")
    ended = by_two("train", *settings, "--out", tmp_path / "two")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("3 steps") == 1  # one of the two tells
    one, two = (load_file(tmp_path / name / "adapter.safetensors") for name in ("one", "two"))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


@pytest.mark.parametrize("labels", [[], ["--unlabelled"]], ids=["labelled", "unlabelled"])
def test_two_processes_find_what_one_finds(done, settings, pictures, tmp_path, labels):
    measured = ("calibrate", *settings, "--images", pictures, "--limit", 39, *labels)
    done(*measured, "--out", tmp_path / "one.json")
    ended = by_two(*measured, "--out", tmp_path / "two.json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("24 branches") == 1
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    for branch in (*one["branches"], *two["branches"]):
        branch["loss"] = pytest.approx(branch["loss"], abs=2e-4)
    assert one == two
    assert not list(tmp_path.glob("*.partial"))


def test_no_thread_of_the_connection_outlives_it():
    """Such a thread may abort the process as it exits."""
    ended = by_two(program=TRAINING)
    assert ended.returncode == 0, ended.stderr
