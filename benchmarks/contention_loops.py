"""Loops that a user would write around the same model and engine, as contenders for `contention.py`.

    python benchmarks/contention_loops.py CLIP NAME

Prints the Unix time at which the first frame is due, then one answer per line.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2

__all__ = ["LOOPS", "Answer", "play"]

_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered frame, numbered from 1.

    Times are Unix seconds; macs_fraction, budget: of the full model's MACs. again: a second look at a frame that was
    answered before.
    """

    frame: int
    captured_at: float
    published_at: float
    label: int
    macs_fraction: float
    budget: float | None = None
    again: bool = False

    @property
    def age_ms(self) -> float:
        """The age of the answer when it was published, in milliseconds."""
        return 1000 * (self.published_at - self.captured_at)


@dataclass(slots=True)
class Situation:
    """The state from which a loop picks its next frame: last and newest frame, numbered from 0, and its own speed."""

    last: int
    newest: int
    seconds_a_frame: float
    frames_per_second: float


def every_frame(now: Situation) -> int:
    """Return the next frame in order, however old it is."""
    return now.last + 1


def newest_frame(now: Situation) -> int:
    """Return the newest frame that has not been answered."""
    return max(now.last + 1, now.newest)


def adaptive_rate(now: Situation) -> int:
    """Return the frame after a stride that the estimated speed can sustain, or the newest frame if that is later."""
    stride = max(1, math.ceil(now.seconds_a_frame * now.frames_per_second))
    return max(now.last + stride, now.newest)


LOOPS: dict[str, tuple[Callable[[Situation], int], float]] = {
    "full model, every frame": (every_frame, 1.0),
    "full model, newest frame": (newest_frame, 1.0),
    "best branch within 80 %, newest frame": (newest_frame, 0.8),
    "best branch within 50 %, newest frame": (newest_frame, 0.5),
    "best branch within 33 %, newest frame": (newest_frame, 0.33),
    "full model, adaptive rate": (adaptive_rate, 1.0),
}


def play(
    clip: Path, name: str, seconds: float = math.inf, say: Callable[[float], None] = lambda _: None
) -> list[Answer]:
    """Answer the clip in real time with the loop `name`.

    say: called with the Unix time of the first frame.
    """
    from adainf import shipped
    from adainf.backbones import Options
    from adainf.engines.opening import Opening
    from adainf.profile import Profile
    from adainf.schedulers import LookupTable

    pick, budget = LOOPS[name]
    profile = Profile.read(shipped.find("profiles", "efficientnet-lite", ".json"))
    engine = Opening.of(profile, None, Options()).open()
    full = profile.space.full
    branch = full if budget == 1.0 else LookupTable(profile).choose(budget).branch
    engine.warm_up([branch])
    capture = cv2.VideoCapture(str(clip))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    start = time.time() + 0.1
    say(start)
    answers: list[Answer] = []
    now = Situation(last=-1, newest=-1, seconds_a_frame=0.0, frames_per_second=rate)
    position = -1
    while True:
        now.newest = min(frames - 1, math.floor((time.time() - start) * rate))
        wanted = pick(now)
        if wanted >= min(frames, seconds * rate):
            return answers
        time.sleep(max(0.0, start + wanted / rate - time.time()))
        while position < wanted - 1 and capture.grab():
            position += 1
        begun = time.time()
        _, picture = capture.read()
        position += 1
        scores = engine.run([engine.prepare(picture, branch.resolution, branch.network)], [branch])[0]
        now.last = wanted
        elapsed = time.time() - begun
        now.seconds_a_frame += (_SMOOTHING if answers else 1.0) * (elapsed - now.seconds_a_frame)
        answers.append(
            Answer(wanted + 1, start + wanted / rate, time.time(), int(scores.argmax()), profile.space.fraction(branch))
        )


def main() -> None:
    from adainf.process.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
    clip, name = sys.argv[1:]
    for answer in play(Path(clip), name, say=lambda start: print(start, flush=True)):
        print(json.dumps(astuple(answer)))


if __name__ == "__main__":
    main()
