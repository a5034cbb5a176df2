"""Which branch runs for a frame and a budget."""

from adainf.schedulers.lookup import Choice, LookupTable

__all__ = ["Choice", "LookupTable"]
