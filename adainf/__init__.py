"""Pretrained vision models whose compute follows a budget.

>>> model = adainf.load("efficientnet-lite", policy="low-latency")
>>> for picture in frames:
...     answer = model(picture)
...     print(answer.labels[0].name, answer.branch, answer.budget.limited_by, answer.timing.total)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from adainf.media import MOST_PIXELS

if TYPE_CHECKING:
    __version__: str
    from adainf.base.errors import AdainfError, InvalidInputError, UnavailableError
    from adainf.branch import Branch
    from adainf.control import Budget, Policy, Signals
    from adainf.engines import OutOfMemoryError
    from adainf.model import AdaptiveModel, Answer, CallTiming, ScoredLabel, load
    from adainf.profile import Profile
    from adainf.schedulers import LookupTable

__all__ = [
    "AdainfError",
    "AdaptiveModel",
    "Answer",
    "Branch",
    "Budget",
    "CallTiming",
    "InvalidInputError",
    "LookupTable",
    "OutOfMemoryError",
    "Policy",
    "Profile",
    "ScoredLabel",
    "Signals",
    "UnavailableError",
    "load",
]

# OpenCV reads its size limit when it is loaded. Of some formats nothing else knows the size before decoding.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

# Imported on first access: numpy alone takes longer to import than all of this.
_FROM = {
    "AdainfError": "adainf.base.errors",
    "AdaptiveModel": "adainf.model",
    "Answer": "adainf.model",
    "Branch": "adainf.branch",
    "Budget": "adainf.control",
    "CallTiming": "adainf.model",
    "InvalidInputError": "adainf.base.errors",
    "LookupTable": "adainf.schedulers",
    "OutOfMemoryError": "adainf.engines",
    "Policy": "adainf.control",
    "Profile": "adainf.profile",
    "ScoredLabel": "adainf.model",
    "Signals": "adainf.control",
    "UnavailableError": "adainf.base.errors",
    "load": "adainf.model",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value = import_module("importlib.metadata").version("adainf")
    elif name in _FROM:
        value = getattr(import_module(_FROM[name]), name)
    else:
        raise AttributeError(f"module 'adainf' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
