"""What the steps came to is looked at now and then where a look waits for a GPU."""

import math

import pytest
import torch

from adainf.base.errors import InvalidInputError
from adainf.training.checkpoint import Progress
from adainf.training.course import Course

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def figures(loss, length=1.0):
    return torch.tensor([loss, 0.5, length])


def gone(device, losses):
    course = Course("training", Progress(), 8, device)
    looks = 0
    for loss in losses:
        course.add(figures(loss), 0.5)
        if course.is_to_read:
            course.read()
            looks += 1
    return looks, course.read()


def test_it_is_the_same_however_seldom_one_looks():
    losses = [1 / (step + 1) for step in range(70)]
    looks, progress = gone(CPU, losses)
    few, as_seen_late = gone(GPU, losses)
    assert (looks, few) == (70, 4)
    assert as_seen_late == progress
    assert (progress.step, progress.seconds) == (70, 35.0)


@pytest.mark.parametrize(("loss", "length"), [(math.nan, 1.0), (1.0, math.inf)])
def test_what_is_no_number_is_found_with_its_step(loss, length):
    course = Course("training", Progress(step=5), 8, GPU)
    course.add(figures(1.0), 1)
    course.add(figures(loss, length), 1)
    course.add(figures(1.0), 1)
    with pytest.raises(InvalidInputError, match=r"at step 6; start again with a lower learning rate"):
        course.read()
