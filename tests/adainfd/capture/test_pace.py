from adainfd.capture.cameras.pace import Pace


def test_frames_that_were_passed_over_count_and_a_pause_does_not() -> None:
    pace = Pace()
    pace.passed(7)
    pace.came(10.0)
    assert pace.interval is None
    for number in range(1, 6):
        pace.came(10.0 + number * 0.25)
    assert pace.interval == 0.25
    pace.passed(3)
    pace.came(12.25)  # four frames later
    assert pace.interval == 0.25
    pace.came(99.0)
    assert pace.interval == 0.25
