import numpy as np
import pytest
from daemons import scene
from numpy.typing import NDArray

from adainf.sensors.motion import changed_share, counted_cells, sketch

SIZE = (768, 432)


def motion(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    return changed_share(sketch(before), sketch(after))


def test_still_picture() -> None:
    picture = scene(0, moves=False, size=SIZE)
    assert motion(picture, picture.copy()) == 0


def test_sensor_noise_is_no_motion() -> None:
    picture = scene(0, moves=False, size=SIZE).astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 6, (2, *picture.shape))
    noisy = (picture + noise).clip(0, 255).astype(np.uint8)
    assert motion(*noisy) < 0.002


@pytest.mark.parametrize("step", [-25, 12, 40])
def test_exposure_step_is_no_motion(step: int) -> None:
    picture = np.random.default_rng(1).integers(60, 160, (432, 768, 3), np.uint8)
    assert motion(picture, (picture.astype(int) + step).astype(np.uint8)) < 0.01


@pytest.mark.parametrize("side", [60, 120, 240])
def test_square_that_appears_counts_by_its_area(side: int) -> None:
    picture = scene(0, moves=False, size=SIZE)
    after = picture.copy()
    after[150 : 150 + side, 300 : 300 + side] = 250
    cell = 8
    whole = SIZE[0] * SIZE[1]
    assert (side - cell) ** 2 / whole <= motion(picture, after) <= (side + cell) ** 2 / whole + 1e-9


@pytest.mark.parametrize("gain", [0.75, 0.98, 1.02, 1.25])
def test_flicker_and_exposure_that_scale_levels_are_no_motion(gain: float) -> None:
    picture = scene(0, moves=False, size=SIZE)
    noise = np.random.default_rng(2).normal(0, 3, picture.shape)
    scaled = (picture * gain + noise).clip(0, 255).astype(np.uint8)
    assert motion(picture, scaled) < 0.01


def test_what_moves_in_an_ignored_region_does_not_count() -> None:
    before, after = (sketch(scene(number, moves=True, size=SIZE)) for number in (0, 5))
    assert changed_share(before, after) > 0
    assert changed_share(before, after, counted_cells([(0.0, 0.0, 1.0, 0.5)])) == 0
    assert changed_share(before, after, counted_cells([(0.0, 0.5, 1.0, 1.0)])) > changed_share(before, after)
    assert changed_share(before, after, counted_cells([(0.0, 0.0, 1.0, 1.0)])) == 0


@pytest.mark.parametrize("size", [(32, 24), (97, 55), (1920, 1080), (360, 640)])
def test_any_size(size: tuple[int, int]) -> None:
    dark, bright = np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0], 3), np.uint8)
    bright[:, : size[0] // 4] = 255
    assert motion(dark, bright) == pytest.approx(0.25, abs=0.03)
