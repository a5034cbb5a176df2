"""A step of gpu.py: how many pictures a second training takes in.

EfficientNet-Lite0 with `adainf train`, batches of 128, beside what this box decodes; cifar/resnet18 with `adainf
pretrain`. Both learn from pictures that are made here. The rate is that of the last lines of progress.
"""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from gpu_findings import Findings, Step, arguments
from tables import Figure

from adainf.engines.processor import usable_processors
from adainf.media import pictures

_CALL = [sys.executable, "-c", "from adainf.cli import main; main()"]
_STEP = re.compile(r"step (\d+):.*?([\d.]+) images a second")
_LARGE, _SMALL = 1024, 50_000
_TRAIN_SECONDS, _PRETRAIN_SECONDS = 25.0, 12.0
_TRAIN_BATCH, _PRETRAIN_BATCH = 128, 1024
_CLASSES = 10


def make(folder: Path, count: int, side: tuple[int, int], suffix: str) -> None:
    """Write `count` pictures of size `side` (width, height), one folder per class; smooth, so that JPEG suits them."""
    generator = np.random.default_rng(0)
    for number in range(_CLASSES):
        (folder / f"{number:02d}").mkdir(parents=True, exist_ok=True)
    rough = generator.integers(0, 256, (count, 6, 8, 3), np.uint8)

    def write(number: int) -> None:
        picture = cv2.resize(rough[number], side, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number % _CLASSES:02d}" / f"{number}{suffix}"), picture)

    with ThreadPoolExecutor(usable_processors()) as threads:
        list(threads.map(write, range(count)))


def decoding(folder: Path) -> float:
    """Return the pictures per second that all processors together decode."""
    files = sorted(folder.glob("*/*.jpg"))[:512]
    with ThreadPoolExecutor(usable_processors()) as threads:
        begun = time.perf_counter()
        for _ in threads.map(pictures.decode, files):
            pass
    return len(files) / (time.perf_counter() - begun)


def rate(command: list[str], batch: int, found: Findings) -> float:
    """Return the pictures per second in the second half of a training, from its progress lines; 0 without any."""
    lines: list[tuple[float, int]] = []
    output: list[str] = []
    process = subprocess.Popen([*_CALL, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            output.append(line.rstrip())
            if (match := _STEP.search(line)) is not None:
                lines.append((time.monotonic(), int(match[1])))
    found.note(f"adainf {command[0]} exits with {process.returncode}: {' / '.join(output[-3:])}")
    later = lines[len(lines) // 2 - 1 if len(lines) > 2 else 0 :]
    if len(later) < 2:
        shown = [float(match[2]) for line in output if (match := _STEP.search(line)) is not None]
        return shown[-1] if shown else 0.0
    (begun, first), (ended, last) = later[0], later[-1]
    return batch * (last - first) / (ended - begun)


def train(step: Step, found: Findings) -> None:
    """Measure EfficientNet-Lite0, trained on pictures from disk."""
    folder, batch = step.work / "large", 8 if step.quick else _TRAIN_BATCH
    make(folder, 64 if step.quick else _LARGE, (500, 375), ".jpg")
    decoded = decoding(folder)
    out = step.work / f"run-{time.time():.0f}"
    command = ["train", "--backbone", "timm/tf_efficientnet_lite0", "--profile", "efficientnet-lite0", "--unlabelled"]
    command += ["--images", str(folder), "--batch", str(batch), "--out", str(out)]
    minutes = (12.0 if step.quick else _TRAIN_SECONDS) / 60
    found_rate = rate([*command, "--minutes", f"{minutes:.3f}"], batch, found)
    found.row("Training", ("", "pictures a second"), "this box decodes, 500 × 375", f"{decoded:.0f}")
    found.row("Training", ("", "pictures a second"), "EfficientNet-Lite0, batches of 128", f"{found_rate:.0f}")
    limit = min(1500.0, 0.8 * decoded)
    what = "EfficientNet-Lite0: views a second (1,500, or four fifths of what is decoded)"
    found.figure(Figure(what, found_rate, limit, at_least=True, form="{:.0f}"))


def pretrain(step: Step, found: Findings) -> None:
    """Measure cifar/resnet18, trained on small pictures."""
    folder, batch = step.work / "small", 64 if step.quick else _PRETRAIN_BATCH
    make(folder, 512 if step.quick else _SMALL, (32, 32), ".png")
    out = step.work / f"resnet18-{time.time():.0f}.safetensors"
    command = ["pretrain", "--backbone", "cifar/resnet18", "--images", str(folder), "--batch", str(batch)]
    minutes = (12.0 if step.quick else _PRETRAIN_SECONDS) / 60
    found_rate = rate([*command, "--out", str(out), "--minutes", f"{minutes:.3f}"], batch, found)
    found.row("Training", ("", "pictures a second"), "cifar/resnet18, 32 × 32", f"{found_rate:.0f}")
    found.figure(Figure("cifar/resnet18: pictures a second", found_rate, 20_000, at_least=True, form="{:.0f}"))


def main() -> int:
    """Run the step; return the exit status."""
    step, found, _ = arguments(__doc__)
    pretrain(step, found)
    train(step, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
