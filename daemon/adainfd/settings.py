"""What a run is told, by file and by command line, put together and checked."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from adainf.errors import InvalidInputError, one_line
from adainfd import relaying
from adainfd.capture.source import Source, without_credentials
from adainfd.config import CameraSection, Configuration
from adainfd.model import read_profile
from adainfd.policies import Policies
from adainfd.tomlfile import explain, load
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
    cameras = _named(sources) if sources else list(configuration.camera)
    if loop:
        cameras = [camera.model_copy(update={"loop": True}) for camera in cameras]
    model = {"policy": policy, "profile": profile, "run": run}
    told = {
        "model": configuration.model.model_copy(update={key: value for key, value in model.items() if value}),
        "publish": {**configuration.publish.model_dump(), **({"bind": tuple(bind)} if bind else {})},
        "web": configuration.web,
        "camera": cameras,
    }
    try:
        return Configuration.model_validate(told)
    except ValidationError as error:
        raise InvalidInputError(explain(error, Configuration)) from None


def _named(sources: Sequence[str]) -> list[CameraSection]:
    cameras: list[CameraSection] = []
    for told in sources:
        try:
            source = Source.parse(told)
        except InvalidInputError as error:
            raise InvalidInputError(f"--source {one_line(without_credentials(repr(told)), 80)}: {error}") from None
        stem = source.stem
        taken = {camera.name for camera in cameras}
        number = next(n for n in range(1, len(sources) + 1) if (stem if n == 1 else f"{stem}-{n}") not in taken)
        cameras.append(CameraSection(name=stem if number == 1 else f"{stem}-{number}", source=source.address))
    return cameras


def check(file: Path) -> str:
    """Check a configuration file, a relay's too, with all that it names; a summary. Raises InvalidInputError."""
    if relaying.is_of_a_relay(load(file, "configuration")):
        return relaying.check(file)
    configuration = Configuration.read(file)
    Policies.read(configuration)
    profile = read_profile(configuration.model)
    Curve.read(configuration.publish.key, configuration.publish.clients, None)
    cameras = ", ".join(camera.name for camera in configuration.camera) or "none"
    return (
        f"{profile.backbone} with {len(profile.branches)} branches, policy {configuration.model.policy}, "
        f"cameras: {cameras}"
    )
