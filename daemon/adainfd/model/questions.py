"""The questions that views ask: which have own classes, and the profile that knows the branches of all of them."""

from dataclasses import dataclass, field
from pathlib import Path

from adainf.base.errors import InvalidInputError
from adainf.classes.taught import Taught
from adainf.profile import Profile
from adainf.schedulers import wanted_of
from adainfd.config.configuration import Configuration

__all__ = ["NO_QUESTIONS", "Questions", "same_classes"]


@dataclass(frozen=True, slots=True)
class Questions:
    """The classes taught to the views, from the files that the configuration names.

    general: of the model. own: of a camera (region None) or of one of its regions, by camera and region; None where it
    asks for labels of the networks.
    """

    general: Taught | None = None
    own: dict[tuple[str, str | None], Taught | None] = field(default_factory=dict)

    @classmethod
    def read(cls, configuration: Configuration) -> "Questions":
        """Read the files of classes, each once; raises InvalidInputError if one is missing or damaged."""
        read: dict[Path, Taught] = {}

        def taught(path: Path) -> Taught:
            if path not in read:
                read[path] = Taught.read(path)
            return read[path]

        general = None if configuration.model.classes is None else taught(configuration.model.classes)
        own: dict[tuple[str, str | None], Taught | None] = {}
        for camera in configuration.camera:
            if isinstance(camera.classes, dict):
                own |= {(camera.name, region): taught(path) for region, path in camera.classes.items()}
            elif camera.classes is not None:
                own[camera.name, None] = taught(camera.classes)
            elif camera.labels:
                own[camera.name, None] = None
        return cls(general, own)

    def of(self, camera: str, region: str | None) -> Taught | None:
        """Return the classes of a view; None for the networks' own."""
        for key in ((camera, region), (camera, None)):
            if key in self.own:
                return self.own[key]
        return self.general

    def known_to(self, profile: Profile) -> Profile:
        """Return the profile that also keeps the branches ready that the classes were taught along.

        Raises InvalidInputError if classes were taught with the features of a network that the profile lacks.
        """
        for taught in self.every:
            try:
                profile = profile.with_branches(taught.profile, wanted_of(taught.profile))
            except InvalidInputError as error:
                raise InvalidInputError(f"classes {', '.join(taught.labels)}: {error}") from None
        return profile

    @property
    def every(self) -> list[Taught]:
        """All classes that were taught, each once."""
        each = (taught for taught in (self.general, *self.own.values()) if taught is not None)
        return list({id(taught): taught for taught in each}.values())


NO_QUESTIONS = Questions()
"""No taught classes at all."""


def same_classes(one: Taught | None, other: Taught | None) -> bool:
    """Return whether two views with these classes get the same answers."""
    if one is None or other is None:
        return one is other
    return one.digest == other.digest
