"""Own classes: accuracy on photographs and clips, `unknown`, and the time of a head, each beside its limit.

    python benchmarks/teaching.py --data FOLDER [--draws 8] [--threads 1] [--write]

FOLDER has `caltech101` (a folder of photographs a category) and `videos` with the clips that `benchmarks/spans` has the
states of: FILE-taught.csv of its first part, FILE-later.csv of the rest. Everything is asked of EfficientNet-Lite0.
"""

import argparse
import sys
import time
import timeit
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tables import Figure, Table, finish, limits

from adainf.backbones import Options
from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN
from adainf.classes.taught import Taught
from adainf.cli.options import use_all_of_the_processor
from adainf.engines.opening import sources
from adainf.evaluation.subject import Subject, open_networks
from adainf.media import images
from adainf.profile import Profile
from adainf.shipped import find
from adainf.teaching import teach
from adainf.teaching.crossvalidation import held_out
from adainf.teaching.examples import Example, Examples, of_video
from adainf.teaching.features import Features, features_of, with_small_inputs
from adainf.teaching.fitting import fit
from adainf.teaching.levels import Level, level, probabilities

SPANS = Path(__file__).parent / "spans"
PROFILE = "efficientnet-lite0"
TAUGHT = 10
"""Photographs of each category; the others of it are asked about."""

CHEAP = 0.25
SMALL = (64, 96)
"""Inputs of whole networks, pixels a side, that photographs are asked about along too."""

STATES, ASKED = 20, 60
"""Frames of each state that are taught at most, and that are asked about."""


@dataclass(frozen=True)
class Clip:
    """A clip, and what its states must reach: balanced accuracy, in per cent, within a fraction of the MACs."""

    name: str
    least: float
    within: float


CLIPS = (
    Clip("one-by-one-person-detection", 97, 0.10),
    Clip("car-detection", 97, 0.10),
    Clip("bottle-detection", 95, 0.25),
)
PHOTOGRAPHS = {10: (97.5, 96.0), 20: (95.5, 92.0)}
"""By the number of categories: the least accuracy along the full branch, and within a quarter of the MACs."""


def main() -> int:
    """Measure, print, and write to the report on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--write", action="store_true", help="replace the tables in the report")
    parser.add_argument("--threads", type=int, help="default: every processor; 1 on a busy machine")
    given = parser.parse_args()
    use_all_of_the_processor()
    profile = Profile.read(find("profiles", PROFILE, ".json"))
    subject = open_networks(sources(profile, None, Options(), {}), threads=given.threads)
    clips, of_clips = measure_clips(subject, profile, given.data / "videos")
    photographs, of_photographs = measure_photographs(subject, profile, given.data / "caltech101", given.draws)
    figures = [*of_photographs, *of_clips]
    return finish("teaching.py", [photographs, clips, limits(figures)], "teaching.md" if given.write else None)


def measure_clips(subject: Subject, profile: Profile, folder: Path) -> tuple[Table, list[Figure]]:
    """Teach each clip's states from its first part; ask about later frames, and about the other clips."""
    lessons: dict[str, teach.Lesson] = {}
    later: dict[str, Examples] = {}
    rows, figures = [], []
    for clip in CLIPS:
        video = folder / f"{clip.name}.mp4"
        taught = of_video(video, SPANS / f"{clip.name}-taught.csv", STATES)
        start = time.monotonic()
        lesson = lessons[clip.name] = teach.teach(subject, profile, taught)
        seconds = time.monotonic() - start
        later[clip.name] = of_video(video, SPANS / f"{clip.name}-later.csv", ASKED)
        found = {of.branch: of for of in teach.evaluate(subject, lesson.taught, later[clip.name])}
        held = {of.branch: of for of in lesson.levels}
        best = max(
            (of for of in found.values() if of.macs_fraction <= clip.within), key=lambda of: held[of.branch].balanced
        )
        apart = abs(held[best.branch].balanced - best.balanced)
        unknown = max(_unknown(of) for of in found.values())
        for branch, of in found.items():
            cells = (
                f"{of.macs_fraction:.1%}",
                f"{held[branch].balanced:.1%}",
                f"{of.balanced:.1%}",
                f"{_unknown(of):.1%}",
            )
            rows.append((clip.name, str(branch), *cells))
        figures += [
            Figure(
                f"{clip.name}: balanced accuracy, %, {best.branch}", 100 * best.balanced, clip.least, True, "{:.1f}"
            ),
            Figure(f"{clip.name}: cross-validated, points from it", 100 * apart, 3, form="{:.1f}"),
            Figure(f"{clip.name}: later frames wrongly unknown, % at most", 100 * unknown, 3, form="{:.1f}"),
            Figure(f"{clip.name}: seconds to teach {len(taught.every)} pictures", seconds, 60, form="{:.0f}"),
        ]
    for clip in CLIPS:
        strangers = [example for name, of in later.items() if name != clip.name for example in of.every]
        shown = {"other clips": strangers, "black, grey, noise": _nothing()}
        for kind, examples in shown.items():
            share = _strange(subject, lessons[clip.name].taught, examples)
            figures.append(Figure(f"{clip.name}: {kind} unknown or below 0.5, %", 100 * share, 95, True, "{:.1f}"))
    figures.append(_time_of_head(subject, lessons[CLIPS[0].name].taught))
    headings = ("clip", "branch", "MACs", "cross-validated", "later frames", "wrongly unknown")
    return Table("States of clips, balanced accuracy", headings, rows), figures


def _unknown(of: Level) -> float:
    return sum(row[-1] for row in of.confusion) / sum(map(sum, of.confusion))


def _strange(subject: Subject, taught: Taught, examples: list[Example]) -> float:
    """Return the share of examples that are unknown or below 0.5, along the branch where it is least."""
    features = features_of(subject, examples, list(taught.familiar), squeezed=taught.squeezed)
    least = 1.0
    for branch, of in features.of_branch.items():
        shares = probabilities(np.stack([taught.scores(branch, row) for row in of[0]]))
        strange = (shares.argmax(axis=1) == len(taught.labels)) | (shares[:, :-1].max(axis=1) < 0.5)
        least = min(least, float(strange.mean()))
    return least


def _nothing() -> list[Example]:
    random = np.random.default_rng(1)
    shape = (432, 768, 3)
    pictures = [np.full(shape, level, np.uint8) for level in (0, 10, 64, 128, 200, 255)]
    pictures += [random.integers(0, most, shape, np.uint8) for most in (8, 64, 256)]
    return [Example(str(n), UNKNOWN, n, n, partial(_itself, picture)) for n, picture in enumerate(pictures)]


def _itself(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture


def _time_of_head(subject: Subject, taught: Taught) -> Figure:
    """Compare the time of a head with that of the cheapest branch, with all that a frame needs."""
    branch = min(taught.familiar, key=taught.profile.space.macs)
    picture = _nothing()[-1].read()
    engine = subject.engine
    (features,) = engine.features([engine.prepare(picture, branch.resolution)], [branch])

    def frame() -> None:
        engine.features([engine.prepare(picture, branch.resolution, squeezed=True)], [branch])

    of_frame = min(timeit.repeat(frame, number=10, repeat=20)) / 10
    of_head = min(timeit.repeat(lambda: taught.scores(branch, features), number=100, repeat=20)) / 100
    return Figure(f"a head's time, % of a frame's along {branch}", 100 * of_head / of_frame, 1)


class Known:
    """Features of photographs, each made once."""

    def __init__(self, subject: Subject, branches: list[Branch]) -> None:
        # Photographs show their subject in the middle: squeezed, 96 px are right in 92.9 % of answers, cropped 97.3.
        self._made = partial(features_of, subject, branches=branches, squeezed=False)
        self._features: dict[tuple[Path, bool], Features] = {}

    def features(self, paths: list[Path], *, augmented: bool) -> Features:
        """Return the features of these photographs."""
        missing = [path for path in paths if (path, augmented) not in self._features]
        examples = [Example(path.name, "", 0, 0, partial(images.decode, path)) for path in missing]
        made = self._made(examples, augmented=augmented)
        for row, path in enumerate(missing):
            of_path = {branch: of[:, row : row + 1] for branch, of in made.of_branch.items()}
            self._features[path, augmented] = Features(of_path, made.nothing, made.thumbnails[row : row + 1])
        every = [self._features[path, augmented] for path in paths]
        return Features(
            {branch: np.concatenate([of.of_branch[branch] for of in every], axis=1) for branch in every[0].of_branch},
            every[0].nothing,
            np.concatenate([of.thumbnails for of in every]),
        )


def measure_photographs(subject: Subject, profile: Profile, folder: Path, draws: int) -> tuple[Table, list[Figure]]:
    """Teach photographs of random categories, ten of each; ask about the others."""
    widened, tried = with_small_inputs(profile, subject)
    space = widened.space
    cheap = max((branch for branch in tried if space.fraction(branch) <= CHEAP), key=space.macs)
    branches = [branch for branch in tried if branch in (space.full, cheap) or branch.resolution in SMALL]
    listed = images.listing(folder, labelled=True)
    categories = sorted(
        {of.folder for of in listed if of.folder is not None and not of.folder.startswith("BACKGROUND")}
    )
    paths = {name: [of.path for of in listed if of.folder == name] for name in categories}
    known = Known(subject, branches)
    rows, figures = [], []
    for count, (least, least_cheap) in PHOTOGRAPHS.items():
        found: dict[Branch, list[tuple[float, float, float, float]]] = {branch: [] for branch in branches}
        for draw in range(draws):
            random = np.random.default_rng((count, draw))
            chosen = sorted(random.choice(categories, count, replace=False))
            parts = {name: list(random.permutation(np.array(paths[name], object))) for name in chosen}
            taught = [(name, path) for name in chosen for path in parts[name][:TAUGHT]]
            asked = [(name, path) for name in chosen for path in parts[name][TAUGHT:]]
            examples = [
                Example(path.name, name, row, row, partial(images.decode, path))
                for row, (name, path) in enumerate(taught)
            ]
            features = known.features([path for _, path in taught], augmented=True)
            truth = np.array([chosen.index(name) for name, _ in taught])
            held = held_out(features, truth, examples, timed=False)
            fitted = fit(features.of_branch, truth, np.arange(len(truth)), count)
            of_asked = known.features([path for _, path in asked], augmented=False)
            labels = np.array([chosen.index(name) for name, _ in asked])
            for branch in branches:
                scores = fitted.scores(branch, of_asked.of_branch[branch][0], held.threshold(branch))
                of = level(space, branch, scores, labels)
                among = float((scores[:, :-1].argmax(axis=1) == labels).mean())
                found[branch].append(
                    (of.accuracy, among, level(space, branch, held.scores(branch), truth).accuracy, _unknown(of))
                )
        means = {branch: 100 * np.mean(of, axis=0) for branch, of in found.items()}
        rows += [
            (
                f"{count} categories",
                str(branch),
                f"{space.fraction(branch):.1%}",
                *(f"{value:.1f}" for value in means[branch]),
            )
            for branch in branches
        ]
        what = f"{count} categories × {TAUGHT} photographs"
        figures += [
            Figure(f"{what}: %, full branch", means[space.full][0], least, True, "{:.1f}"),
            Figure(f"{what}: %, {cheap}", means[cheap][0], least_cheap, True, "{:.1f}"),
        ]
    headings = ("taught", "branch", "MACs", "right, %", "among the classes", "cross-validated", "unknown")
    return Table(f"Photographs, means of {draws} draws", headings, rows), figures


if __name__ == "__main__":
    sys.exit(main())
