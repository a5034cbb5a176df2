"""The collector: chooses the pictures of views with classes of their own that are worth labelling, and keeps them."""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.base.hindrances import Hindered
from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN, UNSORTED
from adainf.classes.taught import Taught
from adainf.teaching.levels import probabilities
from adainfd.base.logs import Logger
from adainfd.base.token_bucket import TokenBucket
from adainfd.collecting.kept import KeptPicture, Reason, Shelf, folder_of
from adainfd.collecting.rule import CollectRule

__all__ = ["Collector", "Glance"]

# Of the distance at which a picture is as likely unknown as not: closer to a kept picture, it teaches little more.
_SAME_SHARE = 0.25
_MOST_REMEMBERED = 64
_AT_ONCE = 3
_SHORTER_SIDE = 640
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Glance:
    """A picture that was just recognised, and what was seen in it.

    holds: returns whether the picture has not been overwritten yet. wall: when it was captured, in Unix seconds.
    scores: its own (labels + 1,). features: (width,), along `branch`. state: of the view, as it is now.
    """

    camera: str
    region: str | None
    picture: NDArray[np.uint8]
    holds: Callable[[], bool]
    wall: float
    taught: Taught
    branch: Branch
    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    state: str | None


@dataclass(slots=True)
class _View:
    """What is known of a view: its bounds, its last state, and unit vectors of what was kept, by network."""

    shelf: Shelf
    tokens: TokenBucket
    sample_at: float
    state: str | None = None
    remembered: dict[str, deque[NDArray[np.float32]]] = field(default_factory=dict)


class Collector(Hindered):
    """Keeps pictures worth labelling. What cannot be written is counted; recognition goes on."""

    def __init__(self, rule: CollectRule, log: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: returns monotonic seconds."""
        self._rule = rule
        self._log = log
        self._clock = clock
        self._views: dict[tuple[str, str | None], _View] = {}
        self._problem: str | None = None
        self._tries = True
        self._lost = 0

    @property
    def hindrance(self) -> str | None:
        """The reason why pictures cannot be kept; None if they can."""
        return None if self._problem is None else f"pictures cannot be collected ({self._problem})"

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of pictures that could not be kept."""
        return {"pictures": self._lost} if self._lost else {}

    def retry(self) -> None:
        """Try again with the next picture."""
        self._tries = True

    def shelf(self, camera: str, region: str | None) -> Shelf:
        """Return where the pictures of a view are kept."""
        return Shelf(folder_of(camera, region) / UNSORTED, self._rule.pictures, round(self._rule.megabytes * 1e6))

    def look(self, glance: Glance) -> None:
        """Keep the picture if it is worth labelling, is unlike those kept before, and the bounds allow it."""
        now = self._clock()
        view = self._view(glance, now)
        (shares,) = probabilities(glance.scores[None])
        reason = self._reason(view, glance, shares, now)
        if reason is None:
            return
        unit = glance.features / max(float(np.linalg.norm(glance.features)), 1e-12)
        alike = _SAME_SHARE * glance.taught.familiar[glance.branch].threshold
        remembered = view.remembered.setdefault(glance.branch.network, deque(maxlen=_MOST_REMEMBERED))
        if any(len(other) == len(unit) and 1 - float(other @ unit) < alike for other in remembered):
            return
        if view.tokens.earn(now) < 1:
            return
        view.tokens.spend()
        if not self._tries:
            self._lost += 1
            return
        small = _small(glance.picture)
        if not glance.holds():
            return
        best = int(shares.argmax())
        name = KeptPicture.at(glance.wall, reason, glance.taught.names[best], float(shares[best]))
        if self._keep(view.shelf, name, small):
            remembered.append(unit)

    def _view(self, glance: Glance, now: float) -> _View:
        key = (glance.camera, glance.region)
        if key not in self._views:
            self._views[key] = _View(
                self.shelf(*key),
                TokenBucket(_AT_ONCE, self._rule.a_minute / 60, now),
                self._next_sample(now),
            )
        return self._views[key]

    def _reason(self, view: _View, glance: Glance, shares: NDArray[np.float64], now: float) -> Reason | None:
        before, view.state = view.state, glance.state
        if before is not None and glance.state is not None and before != glance.state:
            return "change"
        second, first = np.partition(shares, -2)[-2:]
        if shares.argmax() == glance.taught.names.index(UNKNOWN):
            return "unknown"
        if first - second < self._rule.margin:
            return "unsure"
        if now >= view.sample_at:
            view.sample_at = self._next_sample(now)
            return "sample"
        return None

    def _next_sample(self, now: float) -> float:
        return now + random.expovariate(1 / self._rule.sample_seconds)

    def _keep(self, shelf: Shelf, picture: KeptPicture, small: NDArray[np.uint8]) -> bool:
        encoded, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not encoded:
            return False
        try:
            kept = shelf.put(picture, jpeg.tobytes())
        except OSError as error:
            self._tries = False
            self._lost += 1
            if self._problem is None:
                self._log.warning("collecting_stopped", folder=str(shelf.folder), why=error.strerror or str(error))
            self._problem = error.strerror or str(error)
            return False
        if self._problem is not None:
            self._log.info("collecting_again", folder=str(shelf.folder), lost=self._lost)
            self._problem = None
        return kept


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy of the picture, as large as teaching makes use of at most.

    Halving by linear interpolation averages four pixels, and is ten times as fast as INTER_AREA.
    """
    small = picture.copy()
    while (shorter := min(small.shape[:2])) > _SHORTER_SIDE:
        factor = max(_SHORTER_SIDE / shorter, 0.5)
        size = (max(1, round(small.shape[1] * factor)), max(1, round(small.shape[0] * factor)))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return small
