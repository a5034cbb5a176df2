import os
import subprocess
import sys

import torch
from safetensors.torch import load_file


def test_two_processes_learn_what_one_learns(done, network, pictures, tmp_path):
    settings = (*network, "--images", pictures, "--steps", 3, "--learning-rate", 0.001)
    done("train", *settings, "--out", tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    program = [
        sys.executable,
        "-c",
        "from adainf.cli import main; main()",
        "train",
        *settings,
        "--out",
        tmp_path / "two",
    ]
    ended = subprocess.run(
        [*torchrun, *map(str, program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MALLOC_TOP_PAD_": "0"},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("3 steps") == 1  # one of the two tells
    one, two = (load_file(tmp_path / name / "adapter.safetensors") for name in ("one", "two"))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
