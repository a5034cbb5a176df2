"""How many examples a test generates: few among all the tests, as many as are asked for where it runs for itself."""

import math
import os

from hypothesis import HealthCheck, settings

__all__ = ["generous"]


def generous(examples: int, *, each: int = 1) -> settings:
    """Settings for so many examples, or for what ADAINF_EXAMPLES says; how long one takes is not asserted.

    each: examples that the test itself makes of one that it is given.
    """
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    wanted = math.ceil(int(os.environ.get("ADAINF_EXAMPLES", examples)) / each)
    return settings(max_examples=wanted, deadline=None, suppress_health_check=slow)
