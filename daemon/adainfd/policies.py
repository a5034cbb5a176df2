"""Which policy is in force for which camera: the model's, or the camera's own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adainfd.config import Configuration
from adainfd.control import Policy
from adainfd.stream import Stream

__all__ = ["Policies"]


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of the box, and those that cameras have of their own, by the camera's name.

    parts: of what a policy grants all cameras that go by it together, how much is each camera's, by its priority.
    """

    general: Policy
    own: dict[str, Policy]
    parts: dict[str, float]

    @classmethod
    def read(cls, configuration: Configuration) -> "Policies":
        """Read all that a configuration names; raises InvalidInputError on what is wrong in one."""
        named = {camera.name: camera.policy for camera in configuration.camera if camera.policy is not None}
        priorities: defaultdict[str, float] = defaultdict(float)
        for camera in configuration.camera:
            priorities[camera.policy or configuration.model.policy] += camera.priority
        return cls(
            Policy.read(configuration.model.policy),
            {camera: Policy.read(name) for camera, name in named.items()},
            {
                camera.name: camera.priority / priorities[camera.policy or configuration.model.policy]
                for camera in configuration.camera
            },
        )

    def of(self, camera: str, views: int) -> Policy:
        """The policy of each of so many views of a camera."""
        policy, part = self.own.get(camera, self.general), self.parts.get(camera, 1.0) / views
        if policy.share is None or part == 1:
            return policy
        share = policy.share.model_copy(update={"busy": policy.share.busy * part})
        return policy.model_copy(update={"share": share})

    def put_in_force(self, streams: Sequence[Stream]) -> None:
        """From now on the cameras go by these."""
        for stream in streams:
            for view in stream.views:
                view.policy = self.of(stream.camera.name, len(stream.views))

    def of_views(self, streams: Sequence[Stream]) -> dict[str, dict[str, Any]]:
        """Of the views whose policy is not the general one, as a trace keeps them."""
        return {
            stream.key(view): view.policy.model_dump(mode="json")
            for stream in streams
            for view in stream.views
            if view.policy != self.general
        }
