"""The course of a training: the loss and agreement of its steps."""

import math
import time
from collections import deque
from dataclasses import replace

import torch
from torch import Tensor

from adainf.base.errors import InvalidInputError
from adainf.training.checkpoint import Progress

__all__ = ["Course"]

_MEMORY = 0.98
# To read figures from a GPU is to wait for all of its work.
_STEPS_BETWEEN_LOOKS = 16
_LOOKS_REMEMBERED = 50


class Course:
    """Collects the figures of each step on the device, and reads them now and then."""

    def __init__(self, what: str, progress: Progress, batch: int, device: torch.device) -> None:
        """what: names the training. batch: pictures a step."""
        self.progress = progress
        self._what = what
        self._batch = batch
        self._unread: list[Tensor] = []
        self._most_unread = _STEPS_BETWEEN_LOOKS if device.type == "cuda" else 1
        self._looks = deque([(time.monotonic(), progress.step)], _LOOKS_REMEMBERED)

    def add(self, figures: Tensor, seconds: float) -> None:
        """A step was taken. figures: its loss, its agreement, and the length of its gradient."""
        self._unread.append(figures)
        self.progress = replace(self.progress, step=self.progress.step + 1, seconds=self.progress.seconds + seconds)

    @property
    def is_to_read(self) -> bool:
        """Whether enough steps were taken since the last reading."""
        return len(self._unread) >= self._most_unread

    def read(self) -> Progress:
        """Read the figures; raises InvalidInputError where a loss or gradient is not a number."""
        first = self.progress.step - len(self._unread)
        figures = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        for step, (loss, agreement, length) in enumerate(figures, first):
            if not (math.isfinite(loss) and math.isfinite(length)):
                raise InvalidInputError(
                    f"{self._what}: the loss is {loss} and its gradient {length} long at step {step}; "
                    "start again with a lower learning rate (the last checkpoint is kept)"
                )
            # The mean of all steps so far at first, later of about the last fifty.
            weight = max(1 - _MEMORY, 1 / (step + 1))
            self.progress = replace(
                self.progress,
                loss=self.progress.loss + weight * (loss - self.progress.loss),
                agreement=self.progress.agreement + weight * (agreement - self.progress.agreement),
            )
        self._looks.append((time.monotonic(), self.progress.step))
        return self.progress

    @property
    def rate(self) -> float:
        """The recent rate, in pictures a second."""
        (began, before), (now, step) = self._looks[0], self._looks[-1]
        return self._batch * (step - before) / (now - began) if now > began else 0.0
