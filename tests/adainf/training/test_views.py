import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adainf.preprocessing import Preprocessing, prepare
from adainf.training.data.sources import TrainingSource, open_sources
from adainf.training.data.views import Sampling, Views, view
from adainf.training.ranks import Ranks

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.875)


def plain(name: str, level: int, labels: tuple[int, ...] | None = None) -> TrainingSource:
    """Ten pictures of one grey level."""
    return TrainingSource(name, 10, lambda _: np.full((40, 50, 3), level, np.uint8), labels, (name,))


def views(sources, shares=(1, 1), *, batch=8, seed=0, ranks=None, least_area=0.25):
    sampling = Sampling(shares, PREPROCESSING, batch, seed, ranks or Ranks(), lambda _: (32, 16), least_area)
    return Views(sources, sampling)


def first(views, step=0):
    batches = views.from_step(step)
    batch = next(batches)
    batches.close()
    return batch


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 2**32))
def test_a_view_is_a_square_of_at_least_the_wanted_area(height, width, least_area, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    seen = view(picture, np.random.default_rng(seed), least_area)
    largest = min(height, width)
    assert seen.shape[0] == seen.shape[1] <= largest
    assert seen.shape[0] >= max(1, math.floor(largest * least_area**0.5))


@pytest.fixture
def noise(draw, tmp_path):
    return open_sources([draw(tmp_path / "noise", ["3", "4"], each=8)], None, 32)


def test_inputs_are_those_that_are_prepared_for_an_engine():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    inputs = first(views((TrainingSource("one", 1, lambda _: picture, None, ("one",)),), (1,), batch=1)).inputs
    draw = np.random.default_rng((0, 0, 0))
    draw.choice(1, p=[1.0])
    draw.integers(1)
    shown = view(picture, draw, 0.25)
    for side in (32, 16):
        assert (inputs[side][0].numpy() == prepare(shown, side, replace(PREPROCESSING, crop_fraction=1.0))).all()


def test_the_number_of_threads_changes_no_view(noise):
    one, four = (replace(views(noise, (1,)), threads=threads) for threads in (1, 4))
    assert torch.equal(first(one, step=3).inputs[32], first(four, step=3).inputs[32])


def test_a_step_has_its_views_wherever_one_begins(noise):
    batches = views(noise, (1,)).from_step(0)
    third = [next(batches) for _ in range(3)][2]
    batches.close()
    again = first(views(noise, (1,)), step=2)
    assert third.step == again.step == 2
    assert all(torch.equal(third.inputs[side], again.inputs[side]) for side in (16, 32))
    assert not torch.equal(first(views(noise, (1,), seed=1), step=2).inputs[32], again.inputs[32])


def test_two_processes_share_the_views_that_one_has(noise):
    whole = first(views(noise, (1,))).inputs[32]
    halves = [first(views(noise, (1,), ranks=Ranks(rank, 2))).inputs[32] for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), whole)


def test_both_resolutions_show_the_same():
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    picture = np.asarray(cv2.resize(coarse, (50, 40), interpolation=cv2.INTER_CUBIC), np.uint8)
    inputs = first(
        views((TrainingSource("smooth", 1, lambda _: picture, None, ("smooth",)),), (1,), least_area=1)
    ).inputs
    averaged = torch.nn.functional.avg_pool2d(inputs[32], 2)
    correlation = torch.corrcoef(torch.stack([averaged.flatten(), inputs[16].flatten()]))[0, 1]
    assert correlation > 0.8


def test_sources_are_drawn_by_their_shares():
    dark, light = plain("dark", 10), plain("light", 240)
    inputs = first(views((dark, light), (3, 1), batch=400)).inputs[16]
    share = (inputs.mean(dim=(1, 2, 3)) < 0).float().mean()
    assert 0.68 < share < 0.82
    assert (first(views((dark, light), (0, 2))).inputs[16] > 0).all()


def test_labels_go_with_their_pictures():
    dark, light = plain("dark", 10, (7,) * 10), plain("light", 240, (9,) * 10)
    batch = first(views((dark, light)))
    levels = batch.inputs[16].mean(dim=(1, 2, 3))
    assert batch.labels.tolist() == [7 if level < 0 else 9 for level in levels]


def test_a_videos_frames_are_spread_over_it_and_their_number_is_limited(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("adainf.training.data.sources.MOST_FRAMES", 20)
    (source,) = open_sources([clip(tmp_path / "clip.mp4", 50)], None, 16)
    assert source.count == 20
    assert source.read(19).shape == (32, 43, 3)  # twice the native side is enough


@pytest.mark.parametrize("name", ["a:b.mp4", "file:x.mp4", "clip_%d.mp4", "my%20door.mp4", "a*b.mp4", "[x].mp4"])
def test_a_video_is_read_whatever_its_name(clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "v.mp4", 20).rename(name)
    (source,) = open_sources([Path(name)], None, 16)
    assert source.count == 20
