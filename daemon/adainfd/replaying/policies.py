"""The policies for replaying a trace: the recorded ones, or replacements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adainf.base.errors import InvalidInputError, one_line
from adainf.control.policy import Policy
from adainfd.tracing.lines import Header, PolicyChange

__all__ = ["ReplayedPolicies", "named"]


def named(arguments: Sequence[str]) -> dict[str | None, Policy]:
    """Parse NAME, FILE, CAMERA=NAME and CAMERA=FILE into policies by camera; raises InvalidInputError on an error."""
    policies: dict[str | None, Policy] = {}
    for argument in arguments:
        camera, equals, name = argument.partition("=")
        whole = not equals or Path(argument).exists()  # a file name may contain "="
        if (key := None if whole else camera) in policies:
            raise InvalidInputError(f"--policy {argument}: a second one for {key or 'all cameras'}; give one")
        policies[key] = Policy.read(argument if whole else name)
    return policies


@dataclass(frozen=True, slots=True)
class ReplayedPolicies:
    """The policies in force: the general one, and those of views with another."""

    general: Policy
    views: dict[str, Policy]

    @classmethod
    def read(cls, path: Path, line: Header | PolicyChange, others: Mapping[str | None, Policy]) -> "ReplayedPolicies":
        """Return the policies after a line, replaced by `others`; raises InvalidInputError if one is damaged."""
        general = _policy(path, line.policy)
        views = {view: _policy(path, policy) for view, policy in line.policies.items()}
        if (other := others.get(None)) is not None:
            own = line.policies if line.own is None else line.own
            general = other
            views = {view: policy for view, policy in views.items() if view in own}
            views |= {view: other.part(part) for view, part in line.parts.items() if view not in own}
        for name, policy in others.items():
            if name is not None:
                views |= {view: policy.part(part) for view, part in _views_of(name, line).items()}
        return cls(general, views)

    def of(self, view: str) -> Policy:
        """Return the policy of a view."""
        return self.views.get(view, self.general)


def _views_of(camera: str, line: Header | PolicyChange) -> dict[str, float]:
    """Return the parts of the views that a name selects: all views of CAMERA, or CAMERA/REGION alone."""
    found = {view: part for view, part in line.parts.items() if view == camera or view.startswith(f"{camera}/")}
    return found or {camera: 1.0}


def _policy(path: Path, recorded: dict[str, object]) -> Policy:
    try:
        return Policy.model_validate(recorded)
    except ValidationError as error:
        raise InvalidInputError(f"trace {path}: its policy is damaged ({one_line(error, 120)})") from None
