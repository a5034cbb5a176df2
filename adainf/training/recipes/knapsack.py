"""`Projection.project` on the device of the scores, so that the CPU does not wait for a GPU."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adainf.schedulers.projection import Projection

__all__ = ["Knapsack"]

# With more sets than this, a large batch's sums would exhaust memory.
_MOST_COMPARED = 1 << 12


class Knapsack:
    """A device-side `Projection.project` with identical results."""

    def __init__(self, projection: Projection, device: torch.device) -> None:
        self._projection = projection
        self._turned = torch.from_numpy(projection.turned).to(device)
        self._kinds = []
        if not 0 < projection.sets <= _MOST_COMPARED or not projection.count:
            return
        costs = np.zeros(len(projection.counts), np.int64)
        self._counts = torch.from_numpy(projection.counts).to(device)
        kind_of = np.zeros(projection.count, np.int64)
        for kind, (cost, positions) in enumerate(projection.kinds):
            costs += cost * projection.counts[:, kind]
            kind_of[positions] = kind
            self._kinds.append(torch.from_numpy(positions).to(device))
        self._costs = torch.from_numpy(costs).to(device)
        self._kind_of = torch.from_numpy(kind_of).to(device)

    def kept(self, scores: Tensor, budgets: Tensor) -> Tensor:
        """Return which skippable blocks are kept (rows, count), bool.

        budgets: (rows,), MACs, int64.
        """
        if not self._kinds:
            kept_blocks = self._projection.project(scores.cpu().numpy(), budgets.cpu().numpy())
            return torch.from_numpy(kept_blocks).to(scores.device)
        room = budgets.clamp(min=self._projection.least) - self._projection.spent
        signed = torch.where(self._turned, -scores, scores).double()
        rank = torch.empty_like(signed, dtype=torch.int64)
        total = signed.new_zeros(len(scores), len(self._counts))
        for kind, positions in enumerate(self._kinds):
            own = signed[:, positions]
            order = own.argsort(dim=1, descending=True, stable=True)
            sums = functional.pad(own.gather(1, order).cumsum(dim=1), (1, 0))
            total += sums[:, self._counts[:, kind]]
            rank[:, positions] = order.argsort(dim=1)
        total.masked_fill_(self._costs > room[:, None], -torch.inf)
        counts = self._counts[total.argmax(dim=1)]
        return (rank < counts[:, self._kind_of]) ^ self._turned
