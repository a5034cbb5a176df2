"""Memory of the processor that a GPU reads and writes by itself."""

import torch
from torch import Tensor

from adainf.engines.cuda import Device

__all__ = ["Staging"]


class Staging:
    """Pinned memory in one piece, taken once: to pin memory takes milliseconds. It only grows."""

    def __init__(self, device: Device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._whole = torch.empty(0, dtype=dtype)
        self._taken = 0

    def begin(self, count: int) -> None:
        """From here on so many values are to be taken; what was taken before is not used any more."""
        if count > len(self._whole):
            self._whole = self._device.pinned(1 << (count - 1).bit_length(), self._dtype)
        self._taken = 0

    def take(self, count: int) -> Tensor:
        """The next values (count,)."""
        first, self._taken = self._taken, self._taken + count
        return self._whole[first : self._taken]
