"""What the status line, the page and `adainfd watch` say: true from the first second on."""

import msgspec
import pytest
from adainfd.service.overview import Overview
from adainfd.wire.messages import MOST_CAMERAS
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from streams import a_result


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@generous(100)
@given(
    rate=st.floats(0.5, 100),
    begins=st.floats(0, 1000),
    watched=st.floats(0.1, 20),
    regions=st.integers(1, 3),
    cameras=st.integers(1, 3),
)
def test_rates_are_those_of_the_time_observed(
    rate: float, begins: float, watched: float, regions: int, cameras: int
) -> None:
    """One frame more or less in the time, whenever one looks; regions and second looks are no more frames."""
    clock = Clock()
    overview = Overview(clock)
    clock.now = begins
    for number in range(1, int(watched * rate) + 2):
        clock.now = begins + (number - 1) / rate
        for camera in range(cameras):
            for region in range(regions):
                result = msgspec.structs.replace(a_result(number, f"r{region}"), camera=f"c{camera}")
                overview.published(result)
            overview.published(msgspec.structs.replace(a_result(number), camera=f"c{camera}"))
    clock.now = begins + watched
    view = overview.view()
    error = 1 / min(watched, 5.0) + 1e-6
    for seen in view.cameras:
        assert seen.frames_per_second == pytest.approx(rate, abs=error)
    assert view.frames_per_second == pytest.approx(cameras * rate, abs=cameras * error)


def test_rates_begin_anew_with_a_daemon_and_end_with_its_frames() -> None:
    clock = Clock()
    overview = Overview(clock)
    for started_at in (1.0, 2.0):
        for number in range(1, 12):
            clock.now += 0.1
            overview.published(msgspec.structs.replace(a_result(number), started_at=started_at))
        assert overview.view().frames_per_second == pytest.approx(10)
        clock.now += 2.0  # it is restarted
    assert overview.view().frames_per_second == pytest.approx(10 / 3)
    clock.now += 4.0
    assert overview.view().frames_per_second == 0


def test_cameras_without_end_hide_none_of_those_that_are_known() -> None:
    clock = Clock()
    overview = Overview(clock)

    def publish(*cameras: str) -> None:
        clock.now += 1.0
        for camera in cameras:
            overview.published(msgspec.structs.replace(a_result(1), camera=camera))

    def known() -> set[str]:
        return {camera.name for camera in overview.view().cameras}

    publish("door")
    publish(*(f"invented{number}" for number in range(3000)), "door")
    first = known()
    assert len(first) == MOST_CAMERAS
    for turn in range(100):
        publish("door", *(f"more{turn}" for _ in range(3)))
    assert len(known()) == MOST_CAMERAS
    assert "door" in known()
    assert known() - first  # one that has been silent makes room


def test_answers_without_end_are_forgotten() -> None:
    clock = Clock()
    overview = Overview(clock)
    for number in range(1, 30_000):
        clock.now = number / 10_000
        overview.published(a_result(number))
    [camera] = overview._cameras.values()
    assert len(camera.recent) <= 5000
    clock.now += 6.0
    overview.view()
    assert not camera.recent
