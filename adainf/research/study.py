"""A complete evaluation: every candidate on every picture, every method at every budget, rows and plots."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from adainf import __version__
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.evaluation.calibrate import listing_digest
from adainf.evaluation.partial import check_writable
from adainf.evaluation.subject import Subject, check_subject
from adainf.profile import Profile
from adainf.research import figures
from adainf.research.answers import Answers, answers_of
from adainf.research.correctness import DECISIONS, content_methods, learnt
from adainf.research.decision import decisions_of
from adainf.research.methods import RAW, branches_of, methods, paper_methods
from adainf.research.published import PUBLISHED
from adainf.research.report import CEILINGS, Gain, Share, budgets_of, gain_of, rows_of, shares_of, write_rows
from adainf.run import Run

__all__ = ["Study", "check", "study"]


@dataclass(frozen=True, slots=True)
class Study:
    """The results of an evaluation.

    full_top1: the full branch's top-1. overruns: by bound, the number of budgets that some picture exceeded.
    """

    images: int
    labelled: bool
    full_top1: float
    overruns: dict[str, int]
    shares: list[Share]
    gains: list[Gain]


def _lesson(folder: Path, reported: Answers) -> Answers:
    lesson = Answers.read(folder / "answers.npz")
    if (lesson.branches, lesson.passed.keys()) != (reported.branches, reported.passed.keys()):
        raise InvalidInputError(f"{folder}: was evaluated with another profile, or by another version, than this")
    if len(lesson.truth) == len(reported.truth) and (lesson.given == reported.given).all():
        raise InvalidInputError(f"{folder}: is of the very pictures that are reported on; give another part")
    return lesson


def check(out: Path) -> None:
    """Raise InvalidInputError unless an evaluation can be written to the folder `out`, and plots can be drawn."""
    files.check_new_folder(out)
    check_writable(out / "curve.csv")
    figures.figure()


def study(
    subject: Subject,
    profile: Profile,
    budgets: int,
    out: Path,
    settings: dict[str, JsonValue],
    *,
    branches: bool,
    taught: Path | None = None,
    run: Run | None = None,
    published: str | None = None,
) -> Study:
    """Evaluate `profile` on the subject's pictures, and write curve.csv, curve.png and answers.npz to `out`.

    settings: the user's selection of pictures. branches: write branches.png too. taught: the folder of an evaluation on
    other pictures; a content-aware scheduler is fitted to its answers. run: its scheduler is evaluated too. published:
    a key of PUBLISHED, whose points are added to the plot. Raises InvalidInputError if the profile is of another
    network, or if answers in `out` belong to other settings.
    """
    check_subject(profile, subject)
    answer_settings: dict[str, JsonValue] = {
        **settings,
        "version": __version__,
        "weights": list(subject.weights.values()),
        "adapter": None if profile.adapted is None else profile.of_key[profile.adapted].adapter,
        "preprocessing": [repr(outline.preprocessing) for outline in subject.engine.outlines.values()],
        "listing": listing_digest(subject),
    }
    points = [decision.point for decision in decisions_of(profile, DECISIONS)]
    answers = answers_of(subject, branches_of(profile), points, out / "answers.npz", answer_settings)
    compared = list(methods(profile, answers))
    if taught is not None:
        compared += content_methods(learnt(profile, _lesson(taught, answers)), answers, seed=0)
    if run is not None:
        paper_budgets = sorted({*budgets_of(budgets), *CEILINGS})
        compared += paper_methods(subject, run, profile, compared[0], paper_budgets, answers.truth)
    rows = rows_of(compared, budgets, len(answers.truth))
    write_rows(rows, out / "curve.csv")
    what = "right" if subject.labels is not None else "as the full branch"
    title = f"{profile.title}: {len(answers.truth)} pictures, {len(profile.branches)} branches, top-1 {what}"
    figures.draw_curve(rows, title, out / "curve.png", PUBLISHED[published] if published else ())
    if branches:
        figures.draw_branches(answers, profile, title, out / "branches.png")
    raw = next((method for method in compared if method.name == RAW), None)
    reported = [method for method in compared if method.name not in ("oracle", "random feasible branch")]
    overruns = {
        bound: sum(row.bound == bound and row.macs_fraction_max > max(row.budget, row.floor) for row in rows)
        for bound in ("hard", "soft")
        if any(row.bound == bound for row in rows)
    }
    full = float(answers.right[:, 0].mean())
    mixing = next(method for method in compared if method.bound == "mean")
    return Study(
        len(answers.truth),
        subject.labels is not None,
        full,
        overruns,
        shares_of(reported, answers, raw),
        [gain_of(method, mixing) for method in compared if method.bound == "mean" and method is not mixing],
    )
