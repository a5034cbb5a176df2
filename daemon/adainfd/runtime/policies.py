"""The policy in force for each camera: the model's, or the camera's own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from adainf.control import Policy
from adainfd.answering.session import CameraSession
from adainfd.config.configuration import Configuration
from adainfd.tracing.lines import PolicyChange

__all__ = ["Policies"]


@dataclass(frozen=True, slots=True)
class Policies:
    """The general policy, and the cameras' own policies by camera name.

    parts: each camera's fraction of what its policy grants to all of that policy's cameras, in proportion to priority.
    """

    general: Policy
    own: dict[str, Policy]
    parts: dict[str, float]

    @classmethod
    def read(cls, configuration: Configuration) -> "Policies":
        """Read all policies that a configuration names; raises InvalidInputError if one is invalid."""
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
        """Return the policy of each view of a camera that has `views` of them."""
        return self.own.get(camera, self.general).part(self.parts.get(camera, 1.0) / views)

    def put_in_force(self, streams: Sequence[CameraSession]) -> None:
        """Apply these policies to the cameras from now on."""
        for stream in streams:
            for view in stream.views:
                view.decider.policy = self.of(stream.camera.name, len(stream.views))

    def in_force(self, streams: Sequence[CameraSession]) -> PolicyChange:
        """Return the policies as a trace line."""
        views = [(stream, view, stream.key(view)) for stream in streams for view in stream.views]
        return PolicyChange(
            policy=self.general.model_dump(mode="json"),
            policies={
                key: view.policy.model_dump(mode="json") for _, view, key in views if view.policy != self.general
            },
            own=tuple(key for stream, _, key in views if stream.camera.name in self.own),
            taught={
                key: view.taught.profile.model_dump(mode="json", by_alias=True, exclude={"set_aside", "timings"})
                for _, view, key in views
                if view.taught is not None
            },
            parts={key: self.parts.get(stream.camera.name, 1.0) / len(stream.views) for stream, _, key in views},
        )
