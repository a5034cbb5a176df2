from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from adainf.base.errors import InvalidInputError
from adainf.preprocessing import Preprocessing, crop_box, prepare

RAW = Preprocessing(224, (0, 0, 0), (1, 1, 1), 0.875)


@pytest.fixture
def photographs(shared_data: Path) -> list[NDArray[np.uint8]]:
    files = sorted((shared_data / "imagenet_500").glob("*/*.jpg"))[:8]
    return [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]


@pytest.mark.parametrize(("resolution", "difference"), [(96, 0.05), (160, 0.025), (224, 0.012)])
def test_close_to_what_the_weights_were_trained_with(
    resolution: int, difference: float, photographs: list[NDArray[np.uint8]]
) -> None:
    # Sharper at low resolutions than what the weights saw at theirs, on purpose.
    for picture in photographs:
        square = np.ascontiguousarray(picture[crop_box(*picture.shape[:2], RAW.crop_fraction)][..., ::-1])
        expected = Image.fromarray(square).resize((resolution, resolution), Image.Resampling.BICUBIC)
        prepared = prepare(picture, resolution, RAW)
        assert np.abs(prepared - np.asarray(expected).transpose(2, 0, 1) / 255).mean() < difference


@pytest.mark.parametrize("resolution", [32, 100, 224])
def test_normalisation_is_exact(resolution: int) -> None:
    preprocessing = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875)
    picture = np.full((120, 160, 3), (10, 128, 255), np.uint8)  # blue, green, red
    prepared = prepare(picture, resolution, preprocessing)
    assert (prepared.shape, prepared.dtype) == ((3, resolution, resolution), np.float32)
    for plane, value, mean, deviation in zip(
        prepared, (255, 128, 10), preprocessing.mean, preprocessing.std, strict=True
    ):
        np.testing.assert_allclose(plane, (value / 255 - mean) / deviation, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (7, 5), (481, 641), (2160, 3840)])
def test_any_size_of_picture(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 255, np.uint8)
    assert prepare(picture, 64, RAW).min() == 1


def test_view_of_a_larger_picture() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    view = whole[10:70, 20:100]
    np.testing.assert_array_equal(prepare(view, 32, RAW), prepare(view.copy(), 32, RAW))


def test_same_part_of_the_scene_at_each_resolution() -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 300))
    picture = np.stack([across, down, across], axis=-1).astype(np.uint8)
    rows, columns = crop_box(300, 400, 0.875)
    for resolution in (48, 96, 256, 512):
        red, green, _ = prepare(picture, resolution, RAW) * 255
        assert red.mean() == pytest.approx(across[rows, columns].mean(), abs=1)
        assert green.mean() == pytest.approx(down[rows, columns].mean(), abs=1)
        assert np.ptp(red) == pytest.approx(np.ptp(across[rows, columns]), abs=5)
        assert np.ptp(green) == pytest.approx(np.ptp(down[rows, columns]), abs=5)


def test_a_zoom_shows_smaller_inputs_less_of_the_scene() -> None:
    across = np.tile(np.linspace(0, 255, 400), (400, 1))
    picture = np.stack([across] * 3, axis=-1).astype(np.uint8)
    shown = [np.ptp(prepare(picture, side, replace(RAW, zoom=0.5))) for side in (224, 112, 56)]
    assert shown == pytest.approx([0.875, 0.875 / 2**0.5, 0.875 / 2], abs=0.02)


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0, 1))
def test_a_larger_input_never_shows_less_and_none_more_than_the_weights_saw(one: int, two: int, zoom: float) -> None:
    preprocessing = replace(RAW, zoom=zoom)
    smaller, larger = sorted((one, two))
    assert 0 < preprocessing.crop_at(smaller) <= preprocessing.crop_at(larger) <= RAW.crop_fraction


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0, 1, exclude_min=True))
def test_central_square_inside_the_picture(height: int, width: int, fraction: float) -> None:
    rows, columns = crop_box(height, width, fraction)
    side = rows.stop - rows.start
    assert side == columns.stop - columns.start
    assert side == pytest.approx(min(height, width) * fraction, abs=0.5) or side == 1
    for found, length in ((rows, height), (columns, width)):
        assert 0 <= found.start < found.stop <= length
        assert abs(found.start - (length - found.stop)) <= 1


@pytest.mark.parametrize(
    ("size", "deviation", "fraction", "message"),
    [
        (0, 1.0, 1.0, "size 0: must be at least 1 pixel"),
        (8, 0.0, 1.0, r"std \(0.0, 1, 1\): each value must be above 0"),
        (8, 1.0, 0.0, "crop fraction 0.0: must be above 0 and at most 1"),
        (8, 1.0, 1.1, "crop fraction 1.1: must be above 0 and at most 1"),
        (8, float("nan"), 1.0, "each value must be above 0"),
    ],
)
def test_refusals(size: int, deviation: float, fraction: float, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Preprocessing(size, (0, 0, 0), (deviation, 1, 1), fraction)


@pytest.mark.parametrize(("height", "width"), [(40, 200), (200, 40), (432, 768), (1, 90)])
def test_squeezed_every_part_of_a_picture_is_seen(height: int, width: int) -> None:
    rows, columns = np.linspace(0, 255, height), np.linspace(0, 255, width)
    picture = np.stack(np.broadcast_arrays(rows[:, None], columns[None], 0.0), axis=-1).astype(np.uint8)
    prepared = 255 * prepare(picture, 32, RAW, squeezed=True)
    across, down = prepared[1].mean(axis=0), prepared[2].mean(axis=1)
    step = 255 / 32
    np.testing.assert_allclose(across, np.linspace(step / 2, 255 - step / 2, 32), atol=step)
    if height > 1:
        np.testing.assert_allclose(down, np.linspace(step / 2, 255 - step / 2, 32), atol=step)


@pytest.mark.parametrize("resolution", [16, 50, 96])
def test_squeezing_a_square_is_to_look_at_all_of_it(resolution: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    uncropped = replace(RAW, crop_fraction=1.0)
    squeezed = prepare(picture, resolution, replace(RAW, zoom=0.5), squeezed=True)
    np.testing.assert_array_equal(squeezed, prepare(picture, resolution, uncropped))
