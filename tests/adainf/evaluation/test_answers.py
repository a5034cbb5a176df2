"""Answers: what candidates pass is kept beside what they answer, and nothing that is kept is computed again."""

import numpy as np
import pytest

from adainf.backbones import Options
from adainf.branch import Branch
from adainf.evaluation.subject import Candidate, Point, open_subject, pooled
from adainf.media import images
from adainf.research.answers import Answers, answers_of

FULL = Candidate(Branch(32, (True,) * 9))
PARTING = Candidate(Branch(32, (True,) * 7 + (False, False)))
POINT = Point(32, "base", (True,) * 7)


@pytest.fixture
def subject(draw, tmp_path):
    folder = draw(tmp_path / "pictures", ["0", "1"], 10)
    every = images.Part.parse("1/1")
    return open_subject(
        "cifar/resnet20", Options("random"), folder, labelled=False, part=every, limit=None, seed=0, threads=1
    )


def test_what_is_kept_of_a_point_is_what_the_network_alone_has_there(subject, tmp_path):
    found = answers_of(subject, [FULL, PARTING], [POINT], tmp_path / "answers.npz", {})
    assert Answers.read(tmp_path / "answers.npz").passed[POINT].tolist() == found.passed[POINT].tolist()
    backbone = subject.engine.backbone
    rows, pictures = next(iter(subject.batches()))
    hidden = backbone.stem(subject.prepare(pictures, 32))
    for index in range(7):
        hidden = backbone.step(index, hidden, True)
    np.testing.assert_allclose(found.passed[POINT][rows], pooled(hidden), rtol=2e-3, atol=1e-3)


def test_killed_and_resumed_the_points_are_as_if_never_killed(subject, tmp_path):
    path = tmp_path / "answers.npz"
    whole = answers_of(subject, [FULL, PARTING], [POINT], path, {})
    with np.load(path) as answers:
        kept = dict(answers)
    kept["done"] = np.array(16)
    kept[str(POINT)][16:] = 0
    np.savez(path, **kept)
    again = answers_of(subject, [FULL, PARTING], [POINT], path, {})
    assert again.passed[POINT].tolist() == whole.passed[POINT].tolist()
    assert np.abs(again.passed[POINT][16:]).max() > 0
