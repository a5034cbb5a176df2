"""Configuration of a run: command line options merged into a file, then checked."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from adainf.base.credentials import without_credentials
from adainf.base.errors import InvalidInputError, UnavailableError, one_line
from adainf.base.tomlfile import explain, load, validated
from adainfd import relaying
from adainfd.capture.source import Source
from adainfd.config.configuration import CameraSection, Configuration
from adainfd.config.unused import unused
from adainfd.model.questions import Questions
from adainfd.model.selection import asked_for, read_profile
from adainfd.runtime.policies import Policies
from adainfd.tracing import recording
from adainfd.wire.serving.authentication import CurveServer

__all__ = ["check", "from_command_line"]


def from_command_line(
    file: Path | None,
    sources: Sequence[str],
    *,
    loop: bool,
    bind: Sequence[str],
    policy: str | None,
    profile: str | None,
    run: Path | None = None,
    password: str | None = None,
) -> Configuration:
    """Return the configuration for `adainfd run`; raise InvalidInputError if the file or the arguments are wrong."""
    configuration = Configuration.read(file) if file is not None else Configuration()
    model: dict[str, str | None] = {} if policy is None else {"policy": policy}
    model |= asked_for(configuration.model, run=run, profile=profile)
    # Start from the whole file and replace only what an option sets, so that nothing is lost.
    values: dict[str, object] = dict(configuration)
    if password is not None and not sources:
        raise InvalidInputError("--password-file: goes with --source; in the configuration it is password_file")
    values["model"] = {**dict(configuration.model), **model}
    if bind:
        values["publish"] = {**dict(configuration.publish), "bind": tuple(bind)}
    cameras = _named(sources, password) if sources else configuration.camera
    values["camera"] = [camera.model_copy(update={"loop": True}) for camera in cameras] if loop else cameras
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise InvalidInputError(explain(error, Configuration)) from None


def _parsed(address: str) -> Source:
    try:
        return Source.parse(address)
    except InvalidInputError as error:
        raise InvalidInputError(f"--source {one_line(without_credentials(repr(address)), 80)}: {error}") from None


def _named(sources: Sequence[str], password: str | None) -> list[CameraSection]:
    cameras: list[CameraSection] = []
    parsed = [_parsed(address) for address in sources]
    if password is not None and not any(source.lacks_password for source in parsed):
        raise InvalidInputError("--password-file: goes with a user in --source, as in USER@HOST")
    for source in parsed:
        stem = source.stem
        used_names = {camera.name for camera in cameras}
        number = next(n for n in range(1, len(sources) + 1) if (stem if n == 1 else f"{stem}-{n}") not in used_names)
        name = stem if number == 1 else f"{stem}-{number}"
        try:
            known = source if password is None else source.with_password(password)
            cameras.append(CameraSection(name=name, source=known.address))
        except ValidationError as error:
            raise InvalidInputError(f"--{explain(error, CameraSection)}") from None
    return cameras


def check(file: Path) -> str:
    """Check a configuration file, a relay's too, and all it names; return a summary that lists ineffective options."""
    from adainfd.doctor.eyes import hindrance
    from adainfd.doctor.files import unreadable, unreadable_source
    from adainfd.model.recogniser import open_model

    if found := hindrance(file):
        raise InvalidInputError(f"configuration {file}: {'; '.join(found)}")
    loaded = load(file, "configuration")
    if relaying.is_of_a_relay(loaded):
        return relaying.check(loaded, file)
    configuration = validated(loaded, file, "configuration", Configuration)
    for subject, why, remedy in unreadable(configuration):
        raise InvalidInputError(f"{subject}: {why}; {remedy}")
    Policies.read(configuration)
    profile = read_profile(configuration.model, Questions.read(configuration))
    CurveServer.read(configuration.publish.key, configuration.publish.clients, None)
    recording.check(configuration)
    for camera in configuration.camera:
        if found := unreadable_source(camera):
            raise InvalidInputError(f"camera {camera.name}: {'; '.join(found)}")
        camera.settings()
    cameras = ", ".join(camera.name for camera in configuration.camera) or "none"
    summary = (
        f"{profile.title} with {len(profile.branches)} branches, policy {configuration.model.policy}, "
        f"cameras: {cameras}"
    )
    warnings: list[str] = []
    try:
        open_model(configuration, profile, warnings.append)
    except UnavailableError as error:
        warnings.append(f"not here yet: {error}")
    return "; ".join([summary, *warnings, *unused(configuration)])
