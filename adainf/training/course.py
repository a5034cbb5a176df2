"""Running loss, agreement and throughput of a training."""

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
# Reading a figure from a GPU synchronises with all of its queued work.
_STEPS_BETWEEN_LOOKS = 16
_LOOKS_REMEMBERED = 50


class Course:
    """Figures of the training steps, accumulated on the device and read in batches."""

    def __init__(self, what: str, progress: Progress, batch: int, device: torch.device) -> None:
        """Continue from `progress`.

        what: the training's name in error messages. batch: pictures per step.
        """
        self.progress = progress
        self._what = what
        self._batch = batch
        self._unread: list[Tensor] = []
        self._most_unread = _STEPS_BETWEEN_LOOKS if device.type == "cuda" else 1
        self._looks = deque([(time.monotonic(), progress.step)], _LOOKS_REMEMBERED)

    def add(self, figures: Tensor, seconds: float) -> None:
        """Record one step.

        figures: (3,), its loss, agreement and gradient norm. seconds: its duration.
        """
        self._unread.append(figures)
        self.progress = replace(self.progress, step=self.progress.step + 1, seconds=self.progress.seconds + seconds)

    @property
    def is_to_read(self) -> bool:
        """Whether enough steps have accumulated to read them."""
        return len(self._unread) >= self._most_unread

    def read(self) -> Progress:
        """Read the accumulated figures and return the progress.

        Raises InvalidInputError if a loss or a gradient norm is not finite.
        """
        first = self.progress.step - len(self._unread)
        figures = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        for step, (loss, agreement, length) in enumerate(figures, first):
            if not (math.isfinite(loss) and math.isfinite(length)):
                gradient = f" and its gradient {length} long" if length else ""  # pretraining does not measure it
                raise InvalidInputError(
                    f"{self._what}: the loss is {loss}{gradient} at step {step}; "
                    "start again with a lower learning rate (the last checkpoint is kept)"
                )
            # The mean over all steps at first, then exponential smoothing over about the last fifty.
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
        """Recent throughput, in pictures per second."""
        (began, before), (now, step) = self._looks[0], self._looks[-1]
        return self._batch * (step - before) / (now - began) if now > began else 0.0
