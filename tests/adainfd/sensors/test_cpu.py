import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from daemons import await_true

from adainf.sensors.cpu import ProcessorSensor

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)


class FakeProc:
    """A folder that looks like /proc, on a box that did nothing but what a test says."""

    def __init__(self, folder: Path, *, pressure: bool = True) -> None:
        self.folder = folder
        if pressure:
            (folder / "pressure").mkdir()
        self.tell(0, {7: 0}, 0)

    def tell(self, busy: int, own: dict[int, int], waited: int) -> None:
        """Busy ticks of all programs, ticks of each own process, microseconds waited; since boot."""
        third = busy // 3
        columns = [1000 + third, 50, 900 + third, 99999 + busy, 4444, busy - 2 * third, 3, 0, 5000 + busy, 6]
        (self.folder / "stat").write_text(f"cpu  {' '.join(map(str, columns))}\ncpu0 1 2 3\nbtime 1\n")
        for number, ticks in own.items():
            (self.folder / str(number)).mkdir(exist_ok=True)
            fields = f"S 1 {number} {number} 0 -1 0 9 9 9 9 {ticks - ticks // 2} {ticks // 2} 77 88 20 0 1 0 5"
            (self.folder / str(number) / "stat").write_text(f"{number} (odd ) name (7) {fields}\n")
        if (self.folder / "pressure").is_dir():
            text = f"some avg10=1.00 avg60=0.50 avg300=0.10 total={waited}\nfull avg10=0.00 total=0\n"
            (self.folder / "pressure" / "cpu").write_text(text)


def shares_after(sensor: ProcessorSensor, proc: FakeProc, busy: int, own: dict[int, int], waited: int = 0) -> dict:
    """What the sensor reads in units of `counts a second`, so that the time the test took does not matter."""
    before = time.monotonic()
    sensor.read()
    after = time.monotonic()
    proc.tell(busy, own, waited)
    await_true(lambda: time.monotonic() - after > 0.2, 1, "time passes")
    shares = sensor.read()
    elapsed = ((after - before) / 2 + time.monotonic() - after, 0.05)
    return {name: None if share is None else share * elapsed[0] for name, share in shares.items()}


def test_first_reading_is_unknown(tmp_path: Path) -> None:
    FakeProc(tmp_path)
    assert ProcessorSensor(lambda: [7], tmp_path).read() == {"cpu_pressure": None, "cpu_foreign": None}


def test_own_processes_are_taken_out(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.tell(0, {7: 0, 8: 0}, 0)
    tenth = TICKS_A_SECOND // 10
    sensor = ProcessorSensor(lambda: [7, 8], tmp_path)
    shares = shares_after(sensor, proc, tenth, {7: tenth // 4, 8: tenth // 4}, waited=50_000)
    assert shares["cpu_foreign"] == pytest.approx((tenth - 2 * (tenth // 4)) / TICKS_A_SECOND, rel=0.1)
    assert shares["cpu_pressure"] == pytest.approx(0.05, rel=0.1)
    assert sensor.lost == {}


def test_only_own_load_is_not_foreign(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    shares = shares_after(ProcessorSensor(lambda: [7], tmp_path), proc, 15, {7: 15})
    assert shares["cpu_foreign"] == 0


def test_own_process_that_ends_does_not_look_like_others(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.tell(5000, {7: 1000, 8: 4000}, 0)
    own = [7, 8]
    sensor = ProcessorSensor(lambda: own, tmp_path)
    sensor.read()
    own.remove(8)
    (tmp_path / "8" / "stat").unlink()
    assert shares_after(sensor, proc, 5010, {7: 1010})["cpu_foreign"] == 0


def test_kernel_that_tells_no_pressure(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path, pressure=False)
    sensor = ProcessorSensor(lambda: [7], tmp_path)
    shares = shares_after(sensor, proc, 20, {7: 0})
    assert shares["cpu_pressure"] is None
    assert shares["cpu_foreign"] > 0
    assert "pressure/cpu" in sensor.lost["cpu_pressure"]


def test_busy_neighbour_on_this_box() -> None:
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with_it = ProcessorSensor(lambda: [os.getpid(), neighbour.pid])
        without = ProcessorSensor(lambda: [os.getpid()])
        share = 0.5 / (os.cpu_count() or 1)

        def shows() -> bool:
            time.sleep(0.1)
            ours, foreign = with_it.read()["cpu_foreign"], without.read()["cpu_foreign"]
            return ours is not None and foreign is not None and foreign > share and foreign - ours > share / 4

        assert await_true(shows, 5, "the neighbour's load")
    finally:
        neighbour.kill()
        neighbour.wait()
