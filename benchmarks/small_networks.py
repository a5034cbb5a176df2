"""The paper's figure 3 on one's own pictures: a CIFAR ResNet, its lookup table, and the paper's scheduler.

    python benchmarks/small_networks.py --train FOLDER --test FOLDER [--backbone cifar/resnet32] [--classes 20]
        [--minutes 8 | --steps 600,900] [--out DIR] [--quick] [--write]

Pretrains the network on the first so many classes of --train, then trains the paper's scheduler together with LoRA
(hard and soft bound) and with all weights (hard bound), and the recipe `distil` with LoRA and with all weights, each
for --minutes, or the --steps of pretraining and of adaptation, of which a busy machine takes no fewer; calibrates on
one half of --test and evaluates on the other. As control the network is pretrained for as long as pretraining and
adaptation together. A real CIFAR-100, as two folders of class folders, is taken as it is. What is finished in --out is
not done again.
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

_LEARNING_RATE = 1e-3
BUDGETS = (0.4, 0.6, 0.7, 1.0)
_PAGE = "results.md"


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to train. bound: of the paper's scheduler; None is the recipe `distil`, whose lookup table it improves."""

    adapt: str
    bound: str | None

    def __str__(self) -> str:
        return f"{self.adapt}, {self.bound or 'distilled'}"

    @property
    def options(self) -> tuple[object, ...]:
        """What `adainf train` is told."""
        if self.bound is None:
            # Small pictures leave no smaller resolution, so branches of all sizes are taught by blocks alone.
            how: tuple[object, ...] = ("--resolutions", 32, "--ceiling", 1)
            return ("--recipe", "distil", "--adapt", self.adapt, "--learning-rate", _LEARNING_RATE, *how)
        return ("--recipe", "paper", "--adapt", self.adapt, "--bound", self.bound)


SETTINGS = (
    Setting("lora", "hard"),
    Setting("lora", "soft"),
    Setting("full", "hard"),
    Setting("lora", None),
    Setting("full", None),
)


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


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long each training lasts, as our commands are told, and as the page is."""

    pretraining: tuple[object, ...]
    control: tuple[object, ...]
    adaptation: tuple[object, ...]
    told: str


def _lengths(arguments: argparse.Namespace) -> Lengths:
    if arguments.steps is None:
        minutes = arguments.minutes
        once = ("--minutes", minutes)
        return Lengths(once, ("--minutes", 2 * minutes), once, f"{minutes:g} minutes each")
    before, after = arguments.steps
    # A step of adaptation sees a quarter of the pictures that one of pretraining does.
    told = f"{before} steps of pretraining (128 pictures), {after} of each adaptation (32)"
    return Lengths(("--steps", before), ("--steps", before + -(-after // 4)), ("--steps", after), told)


def _two_numbers(text: str) -> tuple[int, int]:
    before, after = map(int, text.split(","))
    return before, after


def evaluate(arguments: argparse.Namespace, train: Path, test: Path) -> dict[str, list[Row]]:
    """Every setting's rows, with the control's under `control`."""
    out, long = arguments.out, _lengths(arguments)
    common = ("--backbone", arguments.backbone, "--size", 32)
    base, longer = out / "pretrained.safetensors", out / "control.safetensors"
    for weights, length in ((base, long.pretraining), (longer, long.control)):
        if not weights.is_file():
            adainf("pretrain", *common, "--images", train, *length, "--out", weights, "--checkpoint-every", 20)
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
    of_base = ("--weights", base)
    for setting in SETTINGS:
        short = f"{setting.adapt}-{setting.bound or 'distilled'}"
        run = out / f"run-{short}"
        how = (*setting.options, "--least-area", 0.6)
        if not (run / "manifest.json").is_file():
            adainf("train", *common, *of_base, "--images", train, *how, *long.adaptation, "--out", run)
        pictures = ("--run", run, *of_base, "--images", test)
        if not (run / "profile.json").is_file():
            adainf("calibrate", *pictures, "--part", "1/2", "--profile", out / "raw.json", "--resolutions", 32)
        adainf("evaluate", *pictures, "--part", "2/2", "--out", out / f"evaluated-{short}")
        found[str(setting)] = rows_of(out / f"evaluated-{short}")
    return found


def table_of(found: dict[str, list[Row]]) -> Table:
    """A line a method, with the least MACs at which it reaches the better of pretrained and control network."""
    full = max(at(found[name], "table", "hard", 1.0).top1 for name in ("raw", "control"))
    lines = [("raw", "table", "hard"), ("raw", "random feasible branch", "hard"), ("raw", "oracle", "hard")]
    lines += [("control", "table", "hard")]
    for setting in SETTINGS:
        name, bound = str(setting), setting.bound
        lines += [(name, "lookup, adapted weights", "hard"), (name, "upper envelope", "hard")]
        if bound is None:
            lines.append((name, "table", "hard"))
            continue
        lines += [(name, "paper", bound), (name, "paper, content shuffled", bound)]
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
    parser.add_argument("--steps", type=_two_numbers, help="of both, in place of --minutes")
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
        how = f"{len(names)} classes, {_lengths(arguments).told}"
        head = f"`{arguments.backbone}`, {how}; {table.title}; {measured_on()}."
        put(_PAGE, f"benchmarks/small_networks.py {arguments.backbone}", f"{head}\n\n{table.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
