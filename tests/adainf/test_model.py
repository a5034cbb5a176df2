"""The public library: its names, and a model that answers pictures within a budget."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import adainf
from adainf import AdaptiveModel, Policy, Signals
from adainf.control.policy import Budgets, CeilingRule, EvidenceRule, ReuseRule, SecondLookRule

PUBLIC = [
    "AdainfError",
    "AdaptiveModel",
    "Answer",
    "Branch",
    "Budget",
    "InvalidInputError",
    "LookupTable",
    "OutOfMemoryError",
    "Policy",
    "Profile",
    "Signals",
    "UnavailableError",
    "load",
]


def test_the_public_names_are_these_and_each_tells_what_it_is_for() -> None:
    assert adainf.__all__ == PUBLIC == sorted(PUBLIC)
    assert dir(adainf) == PUBLIC
    for name in PUBLIC:
        assert len((getattr(adainf, name).__doc__ or "").splitlines()[0]) > 10, name
    with pytest.raises(AttributeError, match="no attribute 'Stream'"):
        _ = adainf.Stream  # type: ignore[attr-defined]


def test_importing_the_library_imports_nothing_heavy() -> None:
    code = "import sys, adainf; print([m for m in ('torch', 'numpy', 'cv2', 'pydantic') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
