"""How many examples a test generates: few among all the tests, as many as are asked for where it runs for itself."""

import os

from hypothesis import HealthCheck, settings

__all__ = ["generous"]


def generous(examples: int) -> settings:
    """Settings for so many examples, or for what ADAINF_EXAMPLES says; how long one takes is not asserted."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    wanted = int(os.environ.get("ADAINF_EXAMPLES", examples))
    return settings(max_examples=wanted, deadline=None, suppress_health_check=slow)
