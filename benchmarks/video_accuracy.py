"""What a mean budget is worth on video: the daemon on labelled clips, beside the full model on each of their frames.

    python benchmarks/video_accuracy.py --images FOLDER [--run RUN] [--seeds 2] [--quick] [--write]

The box is idle. Each clip plays in real time under every mean budget, by the policy `balanced` with that one line
added, and once under a policy that runs the full model on each frame. Top-1 is streaming accuracy: the answer at hand
when a frame is captured, against that frame's label.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

from adainfd.client import Result, Subscriber
from contention import make_clip
from contention_loops import Answer
from contention_report import FRAMES_PER_SECOND, Run, streaming_accuracy
from exports import make_exports
from pages import measured_on, put
from rich.console import Console
from tables import Table

from adainf import shipped

MEANS = (0.2, 0.25, 0.35, 0.5)
FULL = "full model, every frame"
MOST_MACS, MOST_POINTS_LOST = 0.35, 0.01
_PAGE = "results.md"


@dataclass(frozen=True, slots=True)
class Seen:
    """The mean MACs per frame of a clip, a fraction of the full model's, and the streaming top-1."""

    macs: float
    top1: float


def watch(clip: Path, truth: list[str], policy: Path, run: str | None, endpoint: str) -> Seen:
    """Run the daemon on the clip once, in real time."""
    command = [sys.executable, "-m", "adainfd", "run", "--source", str(clip), "--bind", endpoint]
    answers: list[Answer] = []
    with (
        subprocess.Popen(
            [*command, "--policy", str(policy), *(["--run", run] if run else [])], stderr=subprocess.DEVNULL
        ) as daemon,
        Subscriber(endpoint) as messages,
    ):
        while (message := messages.receive(0.5)) is not None or daemon.poll() is None:
            if isinstance(message, Result):
                again = message.plan.chosen_by == "second_look"
                label, macs = message.labels[0].index, message.plan.macs_fraction
                answers.append(
                    Answer(message.frame, message.captured_at, message.published_at, label, macs, again=again)
                )
    start = answers[0].captured_at - (answers[0].frame - 1) / FRAMES_PER_SECOND
    seen = Run(policy.stem, start, answers)
    macs = sum(answer.macs_fraction for answer in answers) / len(seen.first_answers)
    return Seen(macs, streaming_accuracy(seen, truth))


def policies(folder: Path, means: tuple[float, ...]) -> dict[str, Path]:
    """Write a policy file for the full model and one per mean budget; return their paths."""
    balanced = shipped.find("policies", "balanced", ".toml").read_text(encoding="utf-8")
    texts = {FULL: "[budget]\nmaximum = 1.0\n"}
    texts |= {f"mean {mean}": balanced.replace("[budget]\n", f"[budget]\nmean = {mean}\n", 1) for mean in means}
    files = {name: folder / f"{name}.toml" for name in texts}
    for name, file in files.items():
        file.write_text(texts[name], encoding="utf-8")
    return files


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="photographs, a folder a class")
    parser.add_argument("--run", help="a run's folder")
    parser.add_argument("--seeds", type=int, default=2, help="so many clips, each of other photographs")
    parser.add_argument("--quick", action="store_true", help="one clip, one mean budget")
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    make_exports()
    means, seeds = ((MOST_MACS,), 1) if arguments.quick else (MEANS, arguments.seeds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen: dict[str, list[Seen]] = {}
        for seed in range(1, seeds + 1):
            clip, truth = make_clip(arguments.images, folder / str(seed), seed)
            for policy, file in policies(folder, means).items():
                result = watch(clip, truth, file, arguments.run, f"ipc://{folder}/results")
                Console().print(f"clip {seed}, {policy}: {result.macs:.2f} of the MACs, top-1 {result.top1:.1%}")
                seen.setdefault(policy, []).append(result)
    full = statistics.mean(clip_result.top1 for clip_result in seen[FULL])
    rows, within = [], []
    for policy, results in seen.items():
        macs = statistics.mean(clip_result.macs for clip_result in results)
        top1 = statistics.mean(clip_result.top1 for clip_result in results)
        rows.append((policy, f"{macs:.2f}", f"{top1:.1%}", f"{100 * (top1 - full):+.1f}"))
        within.append(macs <= MOST_MACS and top1 >= full - MOST_POINTS_LOST)
    title = f"Labelled clips, {seeds} of {len(truth) / FRAMES_PER_SECOND:.0f} s"
    table = Table(title, ("", "MACs", "top-1", "points"), rows)
    Console(width=118).print(table.rich())
    verdict = "met" if any(within) else "missed"
    Console().print(f"within {MOST_POINTS_LOST:.0%} of the full model at ≤ {MOST_MACS} of the MACs: {verdict}")
    if arguments.write:
        head = f"{title}; run: {arguments.run or 'none'}; {measured_on()}."
        put(_PAGE, "benchmarks/video_accuracy.py", f"{head}\n\n{table.markdown()}")
    return 0 if any(within) else 1


if __name__ == "__main__":
    sys.exit(main())
