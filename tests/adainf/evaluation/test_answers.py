"""Answers: what branches pass is kept beside what they answer, and nothing that is kept is computed again."""

import numpy as np
import pytest

from adainf.backbones import Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.opening import NetworkSource
from adainf.evaluation.subject import Point, open_subject, pooled
from adainf.media import images
from adainf.research.answers import Answers, answers_of

FULL = Branch(32, (True,) * 9)
PARTING = Branch(32, (True,) * 7 + (False, False))
POINT = Point(32, (True,) * 7)
OTHER = Branch(16, (True,) * 15, "resnet32")
OTHER_POINT = Point(16, (True,) * 4, "resnet32")


@pytest.fixture
def subject(draw, tmp_path):
    folder = draw(tmp_path / "pictures", ["0", "1"], 10)
    every = images.Part.parse("1/1")
    networks = {
        REFERENCE: NetworkSource("resnet20", "cifar/resnet20", Options("random")),
        "resnet32": NetworkSource("resnet32", "cifar/resnet32", Options("random")),
    }
    return open_subject(networks, folder, labelled=False, part=every, limit=None, seed=0, threads=1)


def test_what_is_kept_of_a_point_is_what_the_network_alone_has_there(subject, tmp_path):
    found = answers_of(subject, [FULL, PARTING], [POINT], tmp_path / "answers.npz", {})
    assert Answers.read(tmp_path / "answers.npz").passed[POINT].tolist() == found.passed[POINT].tolist()
    backbone = subject.reference
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


def test_branches_of_two_networks_answer_as_each_alone(subject, tmp_path):
    found = answers_of(subject, [FULL, OTHER], [POINT, OTHER_POINT], tmp_path / "answers.npz", {})
    assert Answers.read(tmp_path / "answers.npz").branches == (FULL, OTHER)
    for rows, pictures in subject.batches():
        other = subject.networks["resnet32"]
        prepared = subject.prepare(pictures, 16, "resnet32")
        np.testing.assert_array_equal(found.given[rows, 1], other(prepared).argmax(dim=1).numpy())
        hidden = other.stem(prepared)
        for index in range(4):
            hidden = other.step(index, hidden, True)
        np.testing.assert_allclose(found.passed[OTHER_POINT][rows], pooled(hidden), rtol=2e-3, atol=1e-3)
    assert (found.given[:, 0] != found.given[:, 1]).any()
    # Without labels the truth is the reference's answers.
    assert found.right[:, 0].all()
    assert found.features.shape == (20, 32)
