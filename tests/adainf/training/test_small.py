"""Views of small pictures are those of `view`, made for all of a step together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adainf.preprocessing import Preprocessing, prepare
from adainf.training.data.small import Looks, SmallViews, keep, may_be_shown
from adainf.training.data.sources import TrainingSource, open_sources
from adainf.training.data.views import Sampling, seen
from adainf.training.ranks import Ranks

CPU = torch.device("cpu")
COUNT = 60


def noise(height, width, count=20, *, labels=True):
    pictures = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    return pictures, TrainingSource(
        "noise", count, lambda row: pictures[row], tuple(range(count)) if labels else None, ("n",)
    )


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 50)])
@pytest.mark.parametrize("zoom", [0, 0.3])
def test_they_are_what_the_processor_makes_of_one_after_the_other(height, width, zoom):
    pictures, source = noise(height, width)
    preprocessing = Preprocessing(32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), 0.875, zoom)
    kept = keep([source], CPU, 2)
    sampling = Sampling((1,), preprocessing, COUNT, 0, Ranks(), lambda _: (32, 16, 24))
    looks = Looks.drawn(kept, sampling, np.random.default_rng(5))
    assert 0 < looks.mirrored.sum() < COUNT
    batch = SmallViews(kept, sampling).of(0, looks)
    assert batch.labels.tolist() == looks.row.tolist()
    level = 1 / 255 / np.array(preprocessing.std, np.float32)[:, None, None]
    for side, inputs in batch.inputs.items():
        for view, found in enumerate(inputs.numpy()):
            top, left, length = looks.top[view], looks.left[view], looks.side[view]
            square = pictures[looks.row[view]][top : top + length, left : left + length]
            lit = seen(square, bool(looks.mirrored[view]), *map(float, looks.light[:, view]))
            wanted = prepare(lit, side, replace(preprocessing, crop_fraction=1.0))
            # OpenCV rounds its sums to whole numbers in between.
            assert (np.abs(found - wanted) <= 2.01 * level).all()
            assert (np.abs(found - wanted) > 0.5 * level).mean() < 0.2


def views(kept, ranks=None, seed=0, shares=(1,), batch=8):
    preprocessing = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return SmallViews(kept, Sampling(shares, preprocessing, batch, seed, ranks or Ranks(), lambda _: (32, 16)))


def test_a_step_has_its_views_wherever_one_begins_and_two_processes_share_them():
    kept = keep([noise(32, 32)[1]], CPU, 2)
    batches = views(kept).from_step(0)
    third = [next(batches) for _ in range(3)][2]
    again = next(views(kept).from_step(2))
    halves = [next(views(kept, Ranks(rank, 2)).from_step(2)) for rank in (0, 1)]
    for side in (16, 32):
        assert torch.equal(third.inputs[side], again.inputs[side])
        assert torch.equal(torch.cat([half.inputs[side] for half in halves]), again.inputs[side])
    assert not torch.equal(next(views(kept, seed=1).from_step(2)).inputs[32], again.inputs[32])


def test_sources_keep_their_shares_and_their_labels():
    dark, light = (
        TrainingSource(
            str(level), 3, lambda _, level=level: np.full((16, 16, 3), level, np.uint8), (label,) * 3, ("x",)
        )
        for level, label in ((10, 7), (240, 9))
    )
    kept = keep([dark, light], CPU, 1)
    feed = views(kept, shares=(3, 1), batch=400)
    looks = Looks.drawn(kept, feed.sampling, np.random.default_rng(0))
    assert 0.68 < (looks.row < 3).mean() < 0.82
    batch = feed.of(0, looks)
    levels = batch.inputs[16].mean(dim=(1, 2, 3))
    assert batch.labels.tolist() == [7 if level < 0 else 9 for level in levels]


def test_pictures_that_are_large_or_of_several_sizes_are_not_kept(draw, tmp_path):
    assert keep([noise(32, 65)[1]], CPU, 1) is None
    assert keep([noise(32, 32)[1], noise(32, 40)[1]], CPU, 1) is None
    assert not may_be_shown(keep([noise(48, 60)[1]], CPU, 1), 16)


def test_in_place_of_a_picture_that_cannot_be_decoded_the_next_is_kept(draw, tmp_path):
    folder = draw(tmp_path / "noise", ["3", "4"], each=4)
    (folder / "3/1.png").write_bytes((folder / "3/1.png").read_bytes()[:60])
    kept = keep(open_sources([folder], None, 32), CPU, 2)
    assert kept.counts == (8,)
    assert torch.equal(kept.pixels[1], kept.pixels[2])
