"""A family of networks, against each of its networks, skipped blocks and dropped frames: accuracy at equal compute.

    python benchmarks/families.py --images FOLDER [--profile efficientnet-lite] [--limit N] [--quick] [--write]

FOLDER has a folder a class. The even rows of its listing are those that the profile was calibrated on; the odd ones
are reported on here. Shares of time are those of `adainf measure` on this processor: run it first.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import cv2
import numpy as np
from contention import make_clip
from numpy.typing import NDArray
from tables import Figure, Table, finish, limits

from adainf import shipped
from adainf.backbones import Options
from adainf.backbones.timm import imagenet_classes
from adainf.branch import REFERENCE, Branch
from adainf.cli.evaluate import times_here
from adainf.engines.opening import sources
from adainf.evaluation.curve import by_macs, by_time, shares_of_time
from adainf.evaluation.subject import BATCH, Subject, open_subject
from adainf.media.images import Part
from adainf.profile import Profile

_PAGE = "families.md"
_BY_MACS = {0.8: 0.995, 0.67: 0.99, 0.5: 0.975, 0.33: 0.945, 0.25: 0.89, 0.2: 0.86, 0.125: 0.73}
_BY_TIME = {0.5: 0.97, 0.33: 0.92}
_PEERS_AT = (0.8, 0.67, 0.5, 0.33, 0.25, 0.2, 0.125)
_QUICK_FRAMES = 50


@dataclass(frozen=True)
class Measured:
    """Each branch's top-1 on photographs, and its class index on each frame of a labelled clip (frames,)."""

    top1: dict[Branch, float]
    on_frames: dict[Branch, NDArray[np.int64]]
    truth: NDArray[np.int64]

    def streaming(self, branch: Branch, every: float = 1.0) -> float:
        """Return top-1 over the frames where `branch` answers one of `every` frames, and answers stand meanwhile."""
        frames = np.arange(len(self.truth))
        answered = (np.floor(frames / every) * every).astype(int)
        return float((self.on_frames[branch][answered] == self.truth).mean())


def peers(profile: Profile) -> dict[str, Profile]:
    """Return the profiles to choose from: the family's, each network alone, and the reference at its native size."""
    alone = {f"{network.name} alone": profile.with_only(key) for key, network in profile.of_key.items()}
    native = profile.with_only(REFERENCE).at([profile.reference.native_resolution])
    return {"the family": profile, **alone, f"{profile.reference.name}, skipped blocks only": native}


def measured(subject: Subject, branches: Iterable[Branch], images: Path, frames_at_most: int | None) -> Measured:
    """Run all branches on the photographs, and on the frames of a clip made of them."""
    ordered = sorted(set(branches))
    right = dict.fromkeys(ordered, 0)
    assert subject.labels is not None
    for rows, pictures in subject.batches():
        for branch, answers in subject.top1(pictures, ordered).items():
            right[branch] += int((answers == subject.labels[rows]).sum())
    top1 = {branch: count / len(subject.paths) for branch, count in right.items()}
    with tempfile.TemporaryDirectory() as folder:
        clip, labels = make_clip(images, Path(folder), seed=1)
        frames = _frames(clip, frames_at_most)
    ids = imagenet_classes().ids
    truth = np.array([ids.index(label) for label in labels[: len(frames)]])
    on_frames: dict[Branch, list[NDArray[np.int64]]] = {branch: [] for branch in ordered}
    for first in range(0, len(frames), BATCH):
        for branch, answers in subject.top1(frames[first : first + BATCH], ordered).items():
            on_frames[branch].append(answers)
    return Measured(top1, {branch: np.concatenate(answers) for branch, answers in on_frames.items()}, truth)


def _frames(clip: Path, at_most: int | None) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(clip))
    frames: list[NDArray[np.uint8]] = []
    while at_most is None or len(frames) < at_most:
        more, frame = capture.read()
        if not more:
            break
        frames.append(np.asarray(frame, np.uint8))
    return frames


def reach(profile: Profile, found: Measured, shares: dict[str, float]) -> list[Table]:
    """Return the family's accuracy by MACs and by time, beside the limits."""
    full = found.top1[profile.space.full]
    tables = []
    for what, choose, wanted in (
        ("MACs", by_macs(profile), _BY_MACS),
        ("time", by_time(profile, shares), _BY_TIME),
    ):
        figures = []
        for ceiling, limit in wanted.items():
            choice = choose(ceiling)
            share = 0.0 if choice is None else found.top1[choice.branch] / full
            name = (
                "none" if choice is None else f"{_named(profile, choice.branch)} ({choice.macs_fraction:.1%} of MACs)"
            )
            figures.append(
                Figure(f"at most {ceiling:.1%} of {what}: {name}", share, limit, at_least=True, form="{:.1%}")
            )
        table = limits(figures)
        title = f"Share of the full branch's top-1 ({full:.1%}), by {what}"
        tables.append(Table(title, table.headings, table.rows, table.met))
    return tables


def comparison(profile: Profile, found: Measured, shares: dict[str, float]) -> Table:
    """Return each peer's accuracy at equal time: on photographs, and on the frames of a clip."""
    full = profile.space.full
    rows: list[tuple[str, ...]] = []
    for name, peer in peers(profile).items():
        choose = by_time(peer, shares)
        for where, top1 in (("photographs", found.top1.__getitem__), ("clip", found.streaming)):
            choices = [choose(ceiling) for ceiling in _PEERS_AT]
            rows.append((f"{name}, {where}", *("" if c is None else f"{top1(c.branch):.1%}" for c in choices)))
    for key, network in profile.of_key.items():
        whole = profile.space.networks[key].full
        share = shares[str(whole)]
        cells = (f"{found.top1[whole]:.1%}" if share <= ceiling else "" for ceiling in (*_PEERS_AT,))
        rows.append((f"{network.name} at {network.native_resolution} px ({share:.0%}), photographs", *cells))
    # Where each frame is another picture, a dropped frame's answer is that of the frame before: wrong.
    rows.append(("dropped frames, photographs", *(f"{found.top1[full] * share:.1%}" for share in _PEERS_AT)))
    rows.append(("dropped frames, clip", *(f"{found.streaming(full, 1 / share):.1%}" for share in _PEERS_AT)))
    headings = ("top-1 at a share of the full branch's time", *(f"≤ {share:.1%}" for share in _PEERS_AT))
    title = (
        f"Peers; the full branch: {found.top1[full]:.1%} of the photographs, {found.streaming(full):.1%} of the clip"
    )
    return Table(title, headings, rows)


def _named(profile: Profile, branch: Branch) -> str:
    name = profile.of_key[branch.network].name.removeprefix("tf_efficientnet_")
    skipped = branch.keep.count(False)
    return f"{name} at {branch.resolution} px" + (f" without {skipped} blocks" if skipped else "")


def wanted(profile: Profile, shares: dict[str, float]) -> set[Branch]:
    """Return every branch that the tables need."""
    chosen = {network.full for network in profile.space.networks.values()}
    for peer in peers(profile).values():
        for choose, ceilings in ((by_macs(peer), _BY_MACS), (by_time(peer, shares), (*_BY_TIME, *_PEERS_AT))):
            chosen |= {choice.branch for ceiling in ceilings if (choice := choose(ceiling)) is not None}
    return chosen


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--profile", default="efficientnet-lite")
    parser.add_argument("--limit", type=int, help="at most so many photographs")
    parser.add_argument("--quick", action="store_true", help="20 photographs and a second of the clip")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    profile = Profile.read(shipped.find("profiles", arguments.profile, ".json"))
    shares = shares_of_time(times_here(profile), profile.space.full)
    limit = 20 if arguments.quick else arguments.limit
    subject = open_subject(
        sources(profile, None, Options(), {}),
        arguments.images,
        labelled=True,
        part=Part.parse("2/2"),
        limit=limit,
        seed=0,
    )
    branches = wanted(profile, shares)
    found = measured(subject, branches, arguments.images, _QUICK_FRAMES if arguments.quick else None)
    tables = [*reach(profile, found, shares), comparison(profile, found, shares)]
    return finish("families.py", tables, _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
