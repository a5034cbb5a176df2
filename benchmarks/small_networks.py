"""The paper's figure 3: ResNets on CIFAR-100, their lookup table, and the paper's scheduler.

    python benchmarks/small_networks.py --images FOLDER|FILE.npz [--networks cifar/resnet18,cifar/resnet32]
        [--settings lora/hard/train,full/hard/train] [--pretrain-epochs 30 | --pretrain-minutes 1]
        [--epochs 30 | --minutes 2] [--batch 512] [--device cuda] [--out DIR] [--quick] [--write]

FOLDER has `train` and `test`, with a folder a class; FILE has train_x, train_y, test_x, test_y (pixels (pictures, 3,
32, 32), RGB, bytes). Each network is pretrained, then adapted with the recipe `paper` in each setting: what learns
(lora, full), the bound (hard, soft), batch norm (frozen, train). One half of the test pictures chooses branches, the
other reports. What is finished in --out is not done again, so settings may be spread over processes.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from pages import measured_on, put
from pydantic import JsonValue
from rich.console import Console
from small_study import BUDGETS, Study
from tables import Table

from adainf.backbones import Backbone, Classes, Options, load, weights
from adainf.backbones.adapters import Adapter, Kind, attach
from adainf.backbones.macs import branch_space
from adainf.branch import BranchSpace
from adainf.engines.processor import usable_processors
from adainf.media import images
from adainf.run import BatchNorm
from adainf.schedulers.block_scheduler import Bound
from adainf.training import devices
from adainf.training.checkpoint import Progress, checkpoint_path
from adainf.training.data.small import Kept, SmallViews
from adainf.training.data.sources import open_sources
from adainf.training.data.views import Sampling
from adainf.training.loop import TrainingPlan, train
from adainf.training.pretrain import Data, Pretraining, checkpoint_of, learn, read
from adainf.training.ranks import Ranks
from adainf.training.recipes.block_scheduler import PaperRecipe

_PAGE = "results.md"
_SIDE = 32
_LEAST_AREA = 0.6
_CLAIMS = {"lora": 0.6, "full": 0.4}
"""The share of the MACs from which the paper claims no loss of accuracy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A training setting."""

    adapt: Kind
    bound: Bound
    batch_norm: BatchNorm

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Parse `ADAPT/BOUND/BATCH_NORM`, such as `lora/hard/train`; raises ValueError on anything else."""
        adapt, bound, batch_norm = text.split("/")
        if adapt not in get_args(Kind) or bound not in get_args(Bound) or batch_norm not in get_args(BatchNorm):
            raise ValueError(text)
        return cls(adapt, bound, batch_norm)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.adapt}/{self.bound}/{self.batch_norm}"


@dataclass(frozen=True, slots=True)
class Pictures:
    """The training and the test pictures."""

    train: Data
    test: Data
    classes: tuple[str, ...]

    def first_classes(self, count: int, each: int) -> "Pictures":
        """Return the first `count` classes, with `each` pictures of each class."""

        def some(data: Data) -> Data:
            return data.rows(torch.cat([(data.labels == label).nonzero()[:each, 0] for label in range(count)]))

        return Pictures(some(self.train), some(self.test), self.classes[:count])


def pictures_of(path: Path) -> Pictures:
    """Read the pictures from a folder or from an .npz file."""
    if path.is_dir():
        listed = images.listing(path / "train", labelled=True)
        classes = tuple(dict.fromkeys(picture.folder for picture in listed if picture.folder is not None))
        sources = (open_sources((path / part,), Classes(classes), _SIDE)[0] for part in ("train", "test"))
        train, test = (read(source, _SIDE, usable_processors()) for source in sources)
        return Pictures(train, test, classes)
    arrays = np.load(path)
    train, test = (
        Data(torch.from_numpy(arrays[f"{part}_x"]), torch.from_numpy(arrays[f"{part}_y"].astype(np.int64)))
        for part in ("train", "test")
    )
    named = map(str, arrays["classes"]) if "classes" in arrays else map(str, range(int(train.labels.max()) + 1))
    return Pictures(train, test, tuple(named))


@dataclass(frozen=True, slots=True)
class Length:
    """The length of a training: minutes if given, else epochs."""

    epochs: float
    minutes: float | None

    def of(self, data: Data, batch: int) -> tuple[int | None, float | None]:
        """Return the length in steps or in seconds; the other is None."""
        if self.minutes is not None:
            return None, self.minutes * 60
        return max(1, round(self.epochs * data.count / batch)), None


@dataclass(frozen=True)
class Bench:
    """The settings of a run, and its output folder."""

    images: Path
    quick: bool
    device: torch.device
    out: Path
    batch: int
    pretraining: Length
    pretrain_rate: float
    label_smoothing: float
    adaptation: Length
    rate: float

    @cached_property
    def pictures(self) -> Pictures:
        """The pictures, read on first use: a finished run does not need them."""
        whole = pictures_of(self.images)
        return whole.first_classes(4, 64) if self.quick else whole

    def file(self, network: str, ending: str) -> Path:
        """Return the path of one of a network's files."""
        return self.out / f"{network.partition('/')[2]}{ending}"

    def pretrained(self, network: str) -> Path:
        """Return the path of the network's weights, which are trained if missing."""
        path = self.file(network, ".safetensors")
        if path.is_file():
            return path
        data, classes = self.pictures.train, self.pictures.classes
        steps, seconds = self.pretraining.of(data, self.batch)
        wanted = Pretraining(
            network,
            Path(),
            _SIDE,
            self.batch,
            self.pretrain_rate,
            seed=0,
            out=path,
            resume=True,
            steps=steps,
            seconds=seconds,
            label_smoothing=self.label_smoothing,
        )
        settings: dict[str, JsonValue] = {
            "backbone": network,
            "batch": self.batch,
            "steps": steps,
            "rate": self.pretrain_rate,
        }
        progress, learnt = learn(wanted, data, classes, settings, self.device)
        summary = {"epochs": round(progress.step * self.batch / data.count, 1), "seconds": round(progress.seconds, 1)}
        self.file(network, "-pretraining.json").write_text(json.dumps(summary) + "\n", encoding="utf-8")
        weights.write(path, learnt, classes)
        checkpoint_of(path).unlink(missing_ok=True)
        print(f"{network}: {progress.step} steps of {self.batch} in {progress.seconds:.0f} s", flush=True)
        return path

    def adapted(self, base: Backbone, space: BranchSpace, setting: Setting) -> tuple[Adapter, PaperRecipe, Progress]:
        """Train with the recipe; return the adapter with the trained network, the recipe, and the progress."""
        adapter = attach(base, setting.adapt)
        if setting.batch_norm == "train":
            adapter.move_statistics()
        ranks = Ranks()
        recipe = PaperRecipe(
            base, adapter, space, bound=setting.bound, overrun_weight=1, batch=self.batch, seed=0, ranks=ranks
        )
        data = self.pictures.train
        kept = Kept(data.pictures.to(self.device), data.labels.to(self.device), (data.count,))
        sampling = Sampling((1,), base.preprocessing, self.batch, 0, ranks, recipe.resolutions, _LEAST_AREA)
        views = SmallViews(kept, sampling)
        plan = TrainingPlan(self.rate, *self.adaptation.of(data, self.batch))
        folder = self.file(base.name, f"-{str(setting).replace('/', '-')}")
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, JsonValue] = {
            "batch": self.batch,
            "rate": self.rate,
            "steps": plan.steps,
            "setting": str(setting),
        }
        progress = train(recipe, views, plan, folder, settings, ranks)
        checkpoint_path(folder).unlink(missing_ok=True)
        adapter.backbone.eval().requires_grad_(False)
        return adapter, recipe, progress

    def measured(self, network: str, setting: Setting) -> dict[str, object]:
        """Train and evaluate a setting; return a JSON document with the accuracy by method and budget."""
        options = Options(str(self.pretrained(network)))
        base = load(network, options).to(self.device).to(memory_format=torch.channels_last)
        space = branch_space(base)
        study = Study.of(self.pictures.test, base, space, self.device)
        print(f"{network}: {study.full:.1%} right along the full branch", flush=True)
        adapter, recipe, progress = self.adapted(base, space, setting)
        began = time.monotonic()
        branches = sorted(study.branches(base) | study.branches(adapter.backbone), reverse=True)
        raw, learnt = (study.right(weights, branches) for weights in (base, adapter.backbone))
        scheduler = recipe.scheduler.frozen("hard", space)
        own, shuffled = (study.scheduled(adapter.backbone, scheduler, shuffled=s) for s in (False, True))
        table = study.table([learnt], branches)
        methods = {
            "lookup table, raw": study.table([raw], branches),
            "lookup table, adapted weights": table,
            "lookup table, better weights of each branch": study.table([raw, learnt], branches),
            "scheduler": {budget: outcome.right for budget, outcome in own.items()},
            "better of table and scheduler": {budget: study.better(table[budget], own[budget].right) for budget in own},
            "scheduler, content shuffled": {budget: outcome.right for budget, outcome in shuffled.items()},
        }
        epochs = round(progress.step * self.batch / self.pictures.train.count, 1)
        pretraining = json.loads(self.file(network, "-pretraining.json").read_text(encoding="utf-8"))
        took = f"{epochs} epochs in {progress.seconds:.0f} s, measured in {time.monotonic() - began:.0f} s"
        print(f"{network} {setting}: {took}", flush=True)
        return {
            "network": network,
            "setting": asdict(setting),
            "full": study.full,
            "pictures": self.pictures.train.count,
            "pretrain_epochs": pretraining["epochs"],
            "epochs": epochs,
            "batch": self.batch,
            "seconds": round(progress.seconds, 1),
            "machine": _machine(self.device),
            "right": {
                name: {str(budget): round(study.reported(right), 5) for budget, right in found.items()}
                for name, found in methods.items()
            },
            "macs of the scheduler": {str(budget): [round(outcome.macs, 4), round(outcome.most, 4)]
                                      for budget, outcome in own.items()},
        }  # fmt: skip


def _machine(device: torch.device) -> str:
    if device.type != "cuda":
        return measured_on()
    return f"{torch.cuda.get_device_name(device)}; {measured_on()}"


def table_of(results: Sequence[dict[str, Any]], network: str) -> Table:
    """Return a table with a line per setting and method: shares of the full branch's accuracy at each budget."""
    rows = []
    for result in results:
        setting = Setting(**result["setting"])
        for method, row in result["right"].items():
            shares = [f"{row[str(budget)] / result['full']:.1%}" for budget in BUDGETS]
            rows.append((str(setting), method, *shares))
        claim = _CLAIMS[setting.adapt]
        rows.append((str(setting), "the paper's claim", *("100 %" if budget >= claim else "" for budget in BUDGETS)))
    headings = ("setting", "method", *(f"≤ {budget:.0%}" for budget in BUDGETS))
    first = results[0]
    epochs = " and ".join(f"{result['epochs']:g} ({Setting(**result['setting'])})" for result in results)
    title = (
        f"`{network}`, {first['pictures']:,} pictures, {first['pretrain_epochs']:g} epochs of pretraining, "
        f"{epochs} of adaptation: shares of the full branch's accuracy, {first['full']:.1%}, by the "
        f"MACs at most; {first['machine']}"
    )
    return Table(title, headings, rows)


def main() -> int:
    """Train, measure, print, and write the tables if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder with train and test, or a file .npz")
    parser.add_argument("--networks", default="cifar/resnet18,cifar/resnet32")
    parser.add_argument("--settings", default="lora/hard/train,full/hard/train", help="none: pretraining alone")
    parser.add_argument("--pretrain-epochs", type=float, default=30)
    parser.add_argument("--pretrain-minutes", type=float, help="in place of epochs")
    parser.add_argument("--pretrain-rate", type=float, default=0.4)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--epochs", type=float, default=30, help="of each adaptation")
    parser.add_argument("--minutes", type=float, help="in place of epochs")
    parser.add_argument("--rate", type=float, default=1e-3, help="of each adaptation")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=Path("build/small-networks"))
    parser.add_argument("--quick", action="store_true", help="four classes, 64 pictures of each, an epoch each")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    torch.set_num_threads(usable_processors())
    if arguments.quick:
        arguments.pretrain_epochs, arguments.epochs, arguments.batch = 1.0, 1.0, 64
    bench = Bench(
        arguments.images,
        arguments.quick,
        devices.chosen(arguments.device, Ranks()),
        arguments.out,
        arguments.batch,
        Length(arguments.pretrain_epochs, arguments.pretrain_minutes),
        arguments.pretrain_rate,
        arguments.label_smoothing,
        Length(arguments.epochs, arguments.minutes),
        arguments.rate,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = [] if arguments.settings == "none" else [Setting.parse(text) for text in arguments.settings.split(",")]
    for network in arguments.networks.split(","):
        if not settings:
            bench.pretrained(network)
            continue
        results = []
        for setting in settings:
            path = bench.file(network, f"-{str(setting).replace('/', '-')}.json")
            if not path.is_file():
                path.write_text(json.dumps(bench.measured(network, setting), indent=1) + "\n", encoding="utf-8")
            results.append(json.loads(path.read_text(encoding="utf-8")))
        table = table_of(results, network)
        Console(width=150).print(table.rich())
        if arguments.write:
            put(_PAGE, f"benchmarks/small_networks.py {network}", f"{table.title}.\n\n{table.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
