"""Schedulers: which branch runs for a frame and a budget."""

from adainf.schedulers.lookup import Choice, LookupTable, wanted_branches, wanted_networks, wanted_of

__all__ = ["Choice", "LookupTable", "wanted_branches", "wanted_networks", "wanted_of"]
