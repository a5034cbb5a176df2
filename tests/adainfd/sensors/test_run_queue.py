import os
import subprocess
import sys
import time
from typing import Any

import pytest
from daemons import await_true

from adainf.sensors.run_queue import RunQueue

PROCESSORS = os.cpu_count() or 1


def box(running: int, *own: str) -> dict[str, object]:
    """Files of /proc with `running` threads in all, and states of the threads of process 7."""
    threads = {f"7/task/{9 + n}/stat": f"{9 + n} (odd) R (name) {state} 1 7 7 0" for n, state in enumerate(own)}
    return {"stat": f"cpu  1 2 3 4 5 6 7 8 0 0\nintr 5 1\nprocs_running {running}\nprocs_blocked 0", **threads}


@pytest.mark.parametrize(
    ("running", "own", "others"),
    [(5, "RSRD", 3), (1, "R", 0), (3, "", 3), (0, "S", 0), (1, "RRR", 0)],
)
def test_own_running_threads_are_taken_out(root: Any, running: int, own: str, others: int) -> None:
    root.write(box(running, *own))
    sensor = RunQueue(lambda: [7, 8], root.folder)
    assert sensor.read()["cpu_queue"] == pytest.approx(others / PROCESSORS)
    assert sensor.lost == {}


def test_mean_of_the_last_half_second(root: Any) -> None:
    sensor = RunQueue(lambda: [7], root.folder)
    root.write(box(8))
    sensor.read()
    root.write(box(4))
    assert sensor.read()["cpu_queue"] == pytest.approx(6 / PROCESSORS)
    await_true(lambda: sensor.read()["cpu_queue"] == pytest.approx(4 / PROCESSORS), 5, "the first is forgotten")


@pytest.mark.parametrize("content", [None, "cpu 1 2 3"])
def test_kernel_that_does_not_tell(root: Any, content: str | None) -> None:
    sensor = RunQueue(lambda: [7], root.folder)
    root.write({} if content is None else {"stat": content})
    assert sensor.read() == {"cpu_queue": None}
    assert "stat: " in sensor.lost["cpu_queue"]
    root.write(box(1))
    assert sensor.read()["cpu_queue"] is not None
    assert sensor.lost == {}


def test_busy_threads_on_this_box() -> None:
    threads = 4 * PROCESSORS
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(threads)]
    try:
        foreign = RunQueue(lambda: [os.getpid()])
        ours = RunQueue(lambda: [os.getpid(), *(neighbour.pid for neighbour in neighbours)])

        def shows() -> bool:
            time.sleep(0.05)
            all_of_them, rest = foreign.read()["cpu_queue"], ours.read()["cpu_queue"]
            return all_of_them >= 3 and rest <= all_of_them - 3

        assert await_true(shows, 10, "the neighbours' threads")
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
