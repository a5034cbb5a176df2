"""What a run is told, by file and by command line, put together and checked."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from adainf.errors import InvalidInputError
from adainfd.capture.source import Source
from adainfd.config import CameraSection, Configuration
from adainfd.model import read_profile
from adainfd.policies import Policies
from adainfd.tomlfile import explain
from adainfd.wire.gate import Curve

__all__ = ["check", "from_command_line"]


def from_command_line(
    file: Path | None,
    sources: Sequence[str],
    *,
    loop: bool,
    bind: Sequence[str],
    policy: str | None,
    profile: str | None,
    run: str | None = None,
) -> Configuration:
    """The configuration of `adainfd run`; raises InvalidInputError on what is wrong in the file or the arguments."""
    configuration = Configuration.read(file) if file is not None else Configuration()
    model = {"policy": policy, "profile": profile, "run": run}
    # All that the file says, and only what an option names replaced: nothing can get lost on the way.
    told: dict[str, object] = dict(configuration)
    told["model"] = {**dict(configuration.model), **{key: value for key, value in model.items() if value is not None}}
    if bind:
        told["publish"] = {**dict(configuration.publish), "bind": tuple(bind)}
    cameras = _named(sources) if sources else configuration.camera
    told["camera"] = [camera.model_copy(update={"loop": True}) for camera in cameras] if loop else cameras
    try:
        return Configuration.model_validate(told)
    except ValidationError as error:
        raise InvalidInputError(explain(error, Configuration)) from None


def _named(sources: Sequence[str]) -> list[CameraSection]:
    cameras: list[CameraSection] = []
    for source in sources:
        if not source:
            raise InvalidInputError("--source '': must be a video file, a camera's index or a stream's address")
        stem = re.sub(r"[^A-Za-z0-9_.-]", "-", Source(source).stem)
        taken = {camera.name for camera in cameras}
        number = next(n for n in range(1, len(sources) + 1) if (stem if n == 1 else f"{stem}-{n}") not in taken)
        try:
            cameras.append(CameraSection(name=stem if number == 1 else f"{stem}-{number}", source=source))
        except ValidationError as error:
            raise InvalidInputError(f"--{explain(error, CameraSection)}") from None
    return cameras


def check(file: Path) -> str:
    """Check a configuration file with its policy, profile and keys; a summary. Raises InvalidInputError."""
    configuration = Configuration.read(file)
    Policies.read(configuration)
    profile = read_profile(configuration.model)
    Curve.read(configuration.publish.key, configuration.publish.clients, None)
    cameras = ", ".join(camera.name for camera in configuration.camera) or "none"
    return (
        f"{profile.backbone} with {len(profile.branches)} branches, policy {configuration.model.policy}, "
        f"cameras: {cameras}"
    )
