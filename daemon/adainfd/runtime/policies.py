"""Which policy is in force for which camera: the model's, or the camera's own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from adainf.control import Policy
from adainfd.answering.session import CameraSession
from adainfd.config.configuration import Configuration
from adainfd.tracing.lines import PolicyChange

__all__ = ["Policies", "part_of"]


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
        return part_of(self.own.get(camera, self.general), self.parts.get(camera, 1.0) / views)

    def put_in_force(self, streams: Sequence[CameraSession]) -> None:
        """From now on the cameras go by these."""
        for stream in streams:
            for view in stream.views:
                view.decider.policy = self.of(stream.camera.name, len(stream.views))

    def in_force(self, streams: Sequence[CameraSession]) -> PolicyChange:
        """The policies as a trace keeps them."""
        views = [(stream, view, stream.key(view)) for stream in streams for view in stream.views]
        return PolicyChange(
            policy=self.general.model_dump(mode="json"),
            policies={
                key: view.policy.model_dump(mode="json") for _, view, key in views if view.policy != self.general
            },
            own=tuple(key for stream, _, key in views if stream.camera.name in self.own),
            parts={key: self.parts.get(stream.camera.name, 1.0) / len(stream.views) for stream, _, key in views},
        )


def part_of(policy: Policy, part: float) -> Policy:
    """The policy of one among the views that go by it together: so much of its `[share]`, and all else of it."""
    if policy.share is None or part == 1:
        return policy
    share = policy.share.model_copy(update={"busy": policy.share.busy * part})
    return policy.model_copy(update={"share": share})
