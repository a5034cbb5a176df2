"""What a still scene costs: the daemon on a clip in which little moves, against the full model on each of its frames.

    python benchmarks/still_scene.py --clip FILE [--policy NAME] [--write]

The daemon watches the clip in real time; then the full branch looks at every frame by itself. Prints MACs and agreement
of the best label beside their limits, and exits 1 where one is missed. The full model's own answer flickers from frame
to frame, so beside it stands its answer over a second: the label it gives most often in the half second around a frame.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import cv2
from adainfd.client import Result, Subscriber
from exports import make_exports
from pages import measured_on, put
from rich.console import Console
from tables import Table

from adainf import shipped
from adainf.backbones import Options
from adainf.engines.opening import Opening
from adainf.profile import Profile

PROFILE = "efficientnet-lite"
MOST_MACS = 0.2
LEAST_AGREEMENT = 0.98
_PAGE = "contention.md"


@dataclass(frozen=True, slots=True)
class Watched:
    """The daemon's results on a clip.

    answers: best label's index, by frame. macs: total, in full branches.
    """

    answers: dict[int, int]
    macs: float


def watch(clip: Path, policy: str) -> Watched:
    """Run the daemon on the clip once, in real time."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/results"
        command = [sys.executable, "-m", "adainfd", "run", "--source", str(clip), "--bind", endpoint]
        answers: dict[int, int] = {}
        macs = 0.0
        with (
            subprocess.Popen([*command, "--policy", policy], stderr=subprocess.DEVNULL) as daemon,
            Subscriber(endpoint) as messages,
        ):
            while (message := messages.receive(0.5)) is not None or daemon.poll() is None:
                if isinstance(message, Result):
                    answers.setdefault(message.frame, message.labels[0].index)
                    macs += message.plan.macs_fraction
        return Watched(answers, macs)


def full_answers(clip: Path) -> list[int]:
    """Return the full branch's class index for each frame on its own."""
    profile = Profile.read(shipped.find("profiles", PROFILE, ".json"))
    engine = Opening.of(profile, None, Options()).open()
    full = profile.space.full
    capture = cv2.VideoCapture(str(clip))
    answers = []
    while capture.grab():
        _, picture = capture.retrieve()
        answers.append(int(engine.run([engine.prepare(picture, full.resolution)], [full])[0].argmax()))
    return answers


def settled(answers: Sequence[int], frames_each_way: int) -> list[int]:
    """Return the most frequent answer in the window around each frame."""
    around = (answers[max(0, at - frames_each_way) : at + frames_each_way + 1] for at in range(len(answers)))
    return [Counter(window).most_common(1)[0][0] for window in around]


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    make_exports()
    if not arguments.clip.is_file():
        parser.error(f"--clip {arguments.clip}: no such file")
    watched = watch(arguments.clip, arguments.policy)
    alone = full_answers(arguments.clip)
    rate = cv2.VideoCapture(str(arguments.clip)).get(cv2.CAP_PROP_FPS)
    steady = settled(alone, round(rate / 4))

    def agreement(truth: Sequence[int]) -> float:
        return sum(truth[frame - 1] == label for frame, label in watched.answers.items()) / len(watched.answers)

    flickers = sum(before != after for before, after in pairwise(alone)) / len(alone)
    lowest_steady = sum(answer == steady_answer for answer, steady_answer in zip(alone, steady, strict=True)) / len(
        alone
    )
    macs, agrees = watched.macs / len(watched.answers), agreement(alone)
    rows = [
        ("MACs a frame, of the full model's", f"{macs:.2f}", f"≤ {MOST_MACS:.2f}", _verdict(macs <= MOST_MACS)),
        (
            "agrees with the full model",
            f"{agrees:.1%}",
            f"≥ {LEAST_AGREEMENT:.0%}",
            _verdict(agrees >= LEAST_AGREEMENT),
        ),
        ("agrees with the full model's answer around a frame", f"{agreement(steady):.1%}", "", ""),
        ("the full model alone agrees with that", f"{lowest_steady:.1%}", "", ""),
        ("the full model's answer changes from frame to frame", f"{flickers:.1%}", "", ""),
        ("frames answered", f"{len(watched.answers)} of {len(alone)}", "", ""),
    ]
    table = Table(f"{arguments.clip.name}, policy {arguments.policy}", ("", "figure", "limit", ""), rows)
    Console(width=118).print(table.rich())
    if arguments.write:
        head = f"`{arguments.clip.name}`, policy `{arguments.policy}`; {measured_on()}."
        put(_PAGE, "benchmarks/still_scene.py", f"{head}\n\n{table.markdown()}")
    return 0 if macs <= MOST_MACS and agrees >= LEAST_AGREEMENT else 1


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


if __name__ == "__main__":
    sys.exit(main())
