"""Pictures for whoever looks: waited for, never from when somebody looked before, and the main loop never waits."""

import cv2
import numpy as np
from adainfd.service.pictures import Pictures
from numpy.typing import NDArray


def picture(grey: int) -> NDArray[np.uint8]:
    return np.full((48, 64, 3), grey, np.uint8)


def shade(jpeg: bytes | None) -> int | None:
    if jpeg is None:
        return None
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return round(float(decoded.mean()))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_who_ask_wait_for_the_next_picture() -> None:
    clock = Clock()
    pictures = Pictures(["door"], clock, patience_seconds=20)
    for grey in (200, 40):  # nobody looked in between: what was kept is old
        pictures.answered("door", picture(250))
        assert [pictures.jpeg("door") for _ in range(3)] == [None] * 3
        assert pictures.expected("door")
        assert pictures.wanted("door")
        pictures.answered("door", picture(grey))
        assert [shade(pictures.jpeg("door")) for _ in range(3)] == [grey] * 3
        assert not pictures.expected("door")
        clock.now += 60


def test_nobody_waits_for_long_nor_again_and_again() -> None:
    clock = Clock()
    pictures = Pictures(["door"], clock, patience_seconds=3)
    assert pictures.jpeg("door") is None
    clock.now += 2.9
    assert pictures.jpeg("door") is None
    assert pictures.expected("door")
    clock.now += 0.2
    for _ in range(5):
        assert pictures.jpeg("door") is None
        assert not pictures.expected("door")
        clock.now += 1
    pictures.answered("door", picture(7))  # and it is there as soon as the camera is
    assert shade(pictures.jpeg("door")) == 7


def test_others_are_not_shown() -> None:
    pictures = Pictures(["door"])
    pictures.answered("yard", picture(1))
    assert pictures.jpeg("yard") is None
    assert not pictures.expected("yard")
