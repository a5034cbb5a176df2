"""Profiles of the first version, of one network and at most one adapter: read as profiles of a family."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["ADAPTED", "SCHEMA", "adapted_paths", "upgraded"]

SCHEMA = "adainf.profile/1"
ADAPTED = "adapted"
"""The name of the network with a run's adapter."""

_OF_NETWORK = ("backbone", "weights", "native_resolution", "zoom", "droppable", "parts")
_OF_ADAPTER = ("adapter", "strength")


def upgraded(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of the first version as one of the second, which remains to be validated.

    The network with adapted weights, which was a set of weights of the one network, becomes a network called `adapted`.
    """
    new = {key: value for key, value in old.items() if key not in (*_OF_NETWORK, *_OF_ADAPTER)}
    network = {key: old[key] for key in _OF_NETWORK if key in old}
    name = re.sub("[^A-Za-z0-9_.+-]", "", str(old.get("backbone", "")).rpartition("/")[2]).lstrip("_.+-")[:64]
    new["schema"] = "adainf.profile/2"
    new["networks"] = [network | {"name": name or "network"}]
    if old.get("adapter") is not None:
        of_adapter = {key: old[key] for key in _OF_ADAPTER if key in old}
        new["networks"].append(network | of_adapter | {"name": ADAPTED})
    for key in ("branches", "set_aside"):
        if key in old:
            new[key] = _each(old[key], _measured)
    _with_the_full_branch(new)
    adapted = adapted_paths(old)
    if "timings" in old:
        new["timings"] = _each(old["timings"], lambda timings: _timed(timings, adapted))
    return new


def adapted_paths(old: Mapping[str, Any]) -> set[str]:
    """Return the branches of a document of the first version that ran with adapted weights, as it writes them."""
    return {str(m.get("branch")) for m in _mappings(old.get("branches")) if m.get("weights") == ADAPTED}


def _with_the_full_branch(new: dict[str, Any]) -> None:
    """Take the reference's full branch back where the adapted one had replaced it."""
    droppable, native = (new["networks"][0].get(key) for key in ("droppable", "native_resolution"))
    full = f"{native}:{'1' * len(str(droppable))}"
    branches = new.get("branches")
    if isinstance(branches, list) and all(measured.get("branch") != full for measured in _mappings(branches)):
        aside = [measured for measured in _mappings(new.get("set_aside")) if measured.get("branch") == full]
        if aside:
            new["branches"] = [*aside[:1], *branches]
            new["set_aside"] = [measured for measured in new["set_aside"] if measured not in aside]


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _each(value: Any, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return [change(item) if isinstance(item, Mapping) else item for item in value]


def _measured(old: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(old)
    weights = new.pop("weights", "base")
    if weights == ADAPTED:
        new["branch"] = f"{ADAPTED}/{old.get('branch')}"
    elif weights != "base":
        new["weights"] = weights  # to be refused
    return new


def _timed(old: Mapping[str, Any], adapted: Collection[str]) -> dict[str, Any]:
    def named(times: Any) -> Any:
        if not isinstance(times, Mapping):
            return times
        return {(f"{ADAPTED}/{branch}" if branch in adapted else branch): time for branch, time in times.items()}

    new = dict(old)
    if "times" in old:
        new["times"] = named(old["times"])
    if isinstance(old.get("together"), Mapping):
        new["together"] = {pictures: named(times) for pictures, times in old["together"].items()}
    return new
