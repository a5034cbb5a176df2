import os
import threading

import pytest

from adainf.engines.processor import keeping_to

_ALL = sorted(os.sched_getaffinity(0))


@pytest.mark.skipif(len(_ALL) < 2, reason="needs two processors")
def test_a_thread_keeps_to_its_processors_for_as_long_as_it_says():
    seen = []

    def run() -> None:
        with keeping_to(_ALL[:1]):
            seen.append(os.sched_getaffinity(0))
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [{_ALL[0]}, set(_ALL)]
    assert os.sched_getaffinity(0) == set(_ALL)


@pytest.mark.parametrize("processors", [[], [100_000]])
def test_it_runs_anywhere_where_it_cannot_keep_to_them(processors):
    with keeping_to(processors):
        assert os.sched_getaffinity(0) == set(_ALL)
    assert os.sched_getaffinity(0) == set(_ALL)


def test_processors_are_given_back_when_what_runs_fails():
    with pytest.raises(ZeroDivisionError), keeping_to(_ALL[:1]):
        1 / 0  # noqa: B018
    assert os.sched_getaffinity(0) == set(_ALL)
