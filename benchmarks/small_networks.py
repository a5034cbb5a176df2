"""The paper's figure 3 on one's own pictures: a CIFAR ResNet, its lookup table, and the paper's scheduler.

    python benchmarks/small_networks.py --train FOLDER --test FOLDER [--backbone cifar/resnet32] [--classes 20]
        [--minutes 8] [--out DIR] [--quick] [--write]

Pretrains the network on the first so many classes of --train, then trains the paper's scheduler together with LoRA
(hard and soft bound) and with all weights (hard bound), each for --minutes; calibrates on one half of --test and
evaluates on the other. As control the network is pretrained for as long as pretraining and adaptation together. A real
CIFAR-100, as two folders of class folders, is taken as it is. What is finished in --out is not done again.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import measured_on, put
from rich.console import Console
from tables import Table

SETTINGS = (("lora", "hard"), ("lora", "soft"), ("full", "hard"))
BUDGETS = (0.4, 0.6, 0.7, 1.0)
_PAGE = "results.md"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of curve.csv. Shares of the full branch's MACs, and of the pictures."""

    method: str
    bound: str
    budget: float
    floor: float
    macs_fraction: float
    macs_fraction_max: float
    top1: float


def adainf(*arguments: object) -> None:
    """Run a command of ours; what it says is shown."""
    subprocess.run([sys.executable, "-c", "from adainf.cli import main; main()", *map(str, arguments)], check=True)


def classes_of(folder: Path, names: Sequence[str], out: Path) -> Path:
    """A folder that shows only these classes of `folder`."""
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        for picture in (folder / name).iterdir():
            if not (out / name / picture.name).exists():
                (out / name / picture.name).symlink_to(picture.resolve())
    return out


def rows_of(folder: Path) -> list[Row]:
    """The lines of an evaluation."""
    numbers = ("budget", "floor", "macs_fraction", "macs_fraction_max", "top1")
    with (folder / "curve.csv").open(newline="", encoding="utf-8") as file:
        return [
            Row(line["method"], line["bound"], *(float(line[number]) for number in numbers))
            for line in csv.DictReader(file)
        ]


def at(rows: Sequence[Row], method: str, bound: str, budget: float) -> Row:
    """A method's row at the largest budget up to this one."""
    ours = [row for row in rows if (row.method, row.bound) == (method, bound) and row.budget <= budget + 1e-9]
    return max(ours, key=lambda row: row.budget)


def evaluate(arguments: argparse.Namespace, train: Path, test: Path) -> dict[str, list[Row]]:
    """Every setting's rows, with the control's under `control`."""
    out, minutes = arguments.out, arguments.minutes
    common = ("--backbone", arguments.backbone, "--size", 32)
    base, longer = out / "pretrained.safetensors", out / "control.safetensors"
    for weights, time in ((base, minutes), (longer, 2 * minutes)):
        if not weights.is_file():
            adainf(
                "pretrain", *common, "--images", train, "--minutes", time, "--out", weights, "--checkpoint-every", 20
            )
    found = {}
    for name, weights in (("raw", base), ("control", longer)):
        profile = out / f"{name}.json"
        calibrated = (*common, "--weights", weights, "--images", test, "--part", "1/2", "--resolutions", 32)
        if not profile.is_file():
            adainf("calibrate", *calibrated, "--out", profile)
        adainf(
            "evaluate",
            "--profile",
            profile,
            "--weights",
            weights,
            "--images",
            test,
            "--part",
            "2/2",
            "--out",
            out / name,
        )
        found[name] = rows_of(out / name)
    for adapt, bound in SETTINGS:
        run, name = out / f"run-{adapt}-{bound}", f"{adapt}, {bound}"
        how = ("--recipe", "paper", "--adapt", adapt, "--bound", bound, "--least-area", 0.6)
        of_base = ("--weights", base)
        if not (run / "manifest.json").is_file():
            adainf("train", *common, *of_base, "--images", train, *how, "--minutes", minutes, "--out", run)
        pictures = ("--run", run, *of_base, "--images", test)
        if not (run / "profile.json").is_file():
            adainf("calibrate", *pictures, "--part", "1/2", "--profile", out / "raw.json", "--resolutions", 32)
        adainf("evaluate", *pictures, "--part", "2/2", "--out", out / f"evaluated-{adapt}-{bound}")
        found[name] = rows_of(out / f"evaluated-{adapt}-{bound}")
    return found


def table_of(found: dict[str, list[Row]]) -> Table:
    """A line a method, with the least MACs at which it reaches the better of pretrained and control network."""
    full = max(at(found[name], "table", "hard", 1.0).top1 for name in ("raw", "control"))
    lines = [("raw", "table", "hard"), ("raw", "random feasible branch", "hard"), ("raw", "oracle", "hard")]
    lines += [("control", "table", "hard")]
    for adapt, bound in SETTINGS:
        name = f"{adapt}, {bound}"
        lines += [(name, "lookup, adapted weights", "hard"), (name, "paper", bound)]
        lines += [(name, "paper, content shuffled", bound), (name, "upper envelope", "hard")]
        if bound == "hard":
            lines.append((name, "better of table and paper", bound))
    rows = []
    for name, method, bound in lines:
        ours = [row for row in found[name] if (row.method, row.bound) == (method, bound)]
        if not ours:
            continue
        reached = min((row.macs_fraction for row in ours if row.top1 >= full), default=None)
        over = sum(row.macs_fraction_max > max(row.budget, row.floor) + 1e-9 for row in ours)
        tops = [f"{at(found[name], method, bound, budget).top1:.1%}" for budget in BUDGETS]
        rows.append((name, method, bound, *tops, "never" if reached is None else f"{reached:.2f}", str(over)))
    headings = ("weights", "method", "bound", *(f"≤ {budget:.0%}" for budget in BUDGETS), "full at", "budgets exceeded")
    return Table(f"top-1 at a share of the MACs; the full model's is {full:.1%}", headings, rows)


def main() -> int:
    """Train, evaluate and print; write the table into the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="pictures to learn from, a folder a class")
    parser.add_argument("--test", type=Path, required=True, help="others of the same classes")
    parser.add_argument("--backbone", default="cifar/resnet32")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=8.0, help="of pretraining, and of each adaptation")
    parser.add_argument("--out", type=Path, default=Path("build/small-networks"))
    parser.add_argument("--quick", action="store_true", help="four classes, a quarter of a minute each")
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.classes, arguments.minutes = 4, 0.25
    names = sorted(path.name for path in arguments.train.iterdir() if path.is_dir())[: arguments.classes]
    arguments.out.mkdir(parents=True, exist_ok=True)
    train = classes_of(arguments.train, names, arguments.out / "train")
    test = classes_of(arguments.test, names, arguments.out / "test")
    table = table_of(evaluate(arguments, train, test))
    Console(width=150).print(table.rich())
    if arguments.write:
        how = f"{len(names)} classes, {arguments.minutes:g} minutes each"
        head = f"`{arguments.backbone}`, {how}; {table.title}; {measured_on()}."
        put(_PAGE, f"benchmarks/small_networks.py {arguments.backbone}", f"{head}\n\n{table.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
