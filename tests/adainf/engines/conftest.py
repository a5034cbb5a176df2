from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options


@cache
def _backbone(name: str) -> Backbone:
    labels = ("a cat", "a dog", "a bicycle") if name.startswith("openclip/") else ()
    return backbones.load(name, Options(weights=RANDOM, labels=labels))


@pytest.fixture(scope="session")
def backbone() -> Callable[[str], Backbone]:
    """Networks with seeded random weights by name, each built once."""
    return _backbone


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (97, 130, 3), np.uint8)
