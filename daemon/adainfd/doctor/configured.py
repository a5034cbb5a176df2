"""Checks of a configuration: cameras, model, profile, policy, and the addresses to serve on."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import zmq

from adainf.base.credentials import holds_password
from adainf.base.errors import AdainfError, InvalidInputError, MissingWeightsError, UnavailableError
from adainf.base.tomlfile import load, validated
from adainf.branch import REFERENCE
from adainf.engines import Engine
from adainf.profile import Profile
from adainfd import relaying
from adainfd.capture.settings import CameraSettings
from adainfd.config.configuration import Configuration, WebSection
from adainfd.config.exposed import REMEDY, exposed
from adainfd.config.unused import unused
from adainfd.doctor import cameras, gpu
from adainfd.doctor.box import readable_by_all
from adainfd.doctor.eyes import hindrance, running_service, seen_as, unfit_name
from adainfd.doctor.files import unreadable, unreadable_source
from adainfd.doctor.finding import Finding, fail, ok, warn
from adainfd.model.questions import Questions
from adainfd.model.recogniser import offline, open_model
from adainfd.model.selection import opening, read_profile, wanted_branches
from adainfd.model.timings import kept_times
from adainfd.runtime.policies import Policies
from adainfd.tracing import recording
from adainfd.wire import endpoint as endpoints
from adainfd.wire.serving.authentication import CurveServer

__all__ = ["examine"]


def examine(file: Path) -> Iterator[Finding]:
    """Check everything that the configuration `file` names."""
    yield ok("seen as", seen_as())
    if found := hindrance(file):
        yield fail("configuration", *found)
        return
    try:
        loaded = load(file, "configuration")
        if relaying.is_of_a_relay(loaded):
            yield ok("relay", relaying.check(loaded, file))
            return
        configuration = validated(loaded, file, "configuration", Configuration)
    except InvalidInputError as error:
        yield fail("configuration", str(error), "correct the file; docs/schemas/ says what is allowed")
        return
    yield from _daemon(file, configuration)


def _daemon(file: Path, configuration: Configuration) -> Iterator[Finding]:
    yield _file(file, configuration)
    yield from (warn("service", why, "rename the file") for why in filter(None, [unfit_name(file)]))
    yield from (warn("options", text, f"remove it from {file}") for text in unused(configuration))
    hidden = [fail(*problem) for problem in unreadable(configuration)]
    yield from hidden
    subjects = {finding.subject for finding in hidden}
    if "policy" not in subjects:
        yield _policy(configuration)
    if (device := configuration.model.device) is not None and device.startswith("cuda:"):
        yield from gpu.of_device(device)
    if not subjects & {"profile", "weights", "run"}:
        yield from _model(configuration)
    if not configuration.camera:
        yield fail("cameras", "none are named", f"add a [[camera]] to {file}")
    for camera in configuration.camera:
        problem = unreadable_source(camera)
        yield cameras.examine(camera) if problem is None else fail(f"camera {camera.name}", *problem)
    with contextlib.suppress(InvalidInputError):  # a missing password is reported with its camera
        yield from (warn("ports", text, REMEDY) for text in exposed(configuration, _settings(configuration)))
    if "keys" not in subjects:
        yield from _keys(configuration)
    yield from _recording(configuration)
    if (service := running_service()) is not None:
        yield ok("addresses", f"not tried: {service} runs, and holds its own")
        return
    yield from _publishing(configuration)
    if configuration.web is not None:
        yield _web(configuration.web)


def _settings(configuration: Configuration) -> Iterator[CameraSettings]:
    return (section.settings() for section in configuration.camera)


def _file(file: Path, configuration: Configuration) -> Finding:
    secret = any(holds_password(camera.source) for camera in configuration.camera)
    if secret and readable_by_all(file):
        remedy = f"chgrp adainf {file} && chmod 640 {file}"
        return warn("configuration", f"{file}: holds a password, and everyone may read it", remedy)
    return ok("configuration", f"{file}: is valid")


def _policy(configuration: Configuration) -> Finding:
    try:
        Policies.read(configuration)
    except InvalidInputError as error:
        return fail("policy", str(error), "correct the file; docs/how-to/tune-policy.md explains policies")
    own = [f"{camera.policy} for {camera.name}" for camera in configuration.camera if camera.policy is not None]
    return ok("policy", ", ".join([configuration.model.policy, *own]))


def _recording(configuration: Configuration) -> Iterator[Finding]:
    target = recording.target_of(configuration)
    try:
        recording.check(configuration)
    except InvalidInputError as error:
        yield fail("recording", str(error), "name another file in [record]; docs/how-to/tune-policy.md tells which")
        return
    if target is not None:
        yield ok("recording", str(target.path))


def _model(configuration: Configuration) -> Iterator[Finding]:
    try:
        profile = read_profile(configuration.model, Questions.read(configuration))
    except InvalidInputError as error:
        yield fail("profile", str(error), "name a profile made for this model, or make it: adainf calibrate")
        return
    try:
        engine, same_weights = open_model(configuration, profile)
    except (MissingWeightsError, UnavailableError) as error:
        if str(error).startswith("device"):
            remedy = "install its driver, or leave `device` out: the best that is here is taken then"
            yield fail("device", str(error), remedy)
            return
        yield from _weights(configuration, profile)
        return
    except AdainfError as error:
        yield fail("weights", str(error), "give the right weights, or calibrate a profile for these")
        return
    for key, source in opening(configuration, profile).networks.items():
        if key in engine.outlines:
            yield ok("weights", f"{source.title}: {len(engine.class_names)} classes")
        else:
            yield warn("weights", f"{source.title}: are missing, so it is left out", source.remedy)
    profile = profile.of_networks(engine.outlines)
    if not same_weights:
        yield warn("profile", "was made for other weights: its accuracies are not theirs", "adainf calibrate")
    else:
        yield ok("profile", f"{len(profile.branches)} branches, made for these weights")
    yield _timings(engine, profile)


def _weights(configuration: Configuration, profile: Profile) -> Iterator[Finding]:
    """Say of each network whether its weights are here, where those of the reference are not."""
    for key, source in opening(configuration, profile).networks.items():
        try:
            with offline():
                classes = len(source.network.classes.names)
        except MissingWeightsError as error:
            yield (fail if key == REFERENCE else warn)("weights", f"{source.title}: {error}", source.remedy)
        except UnavailableError as error:
            remedy = f"{source.remedy}; else the first start downloads them"
            yield warn("weights", f"{source.title}: are not here yet ({error})", remedy)
        except AdainfError as error:
            yield fail("weights", f"{source.title}: {error}", "give the right weights")
        else:
            yield ok("weights", f"{source.title}: {classes} classes")


def _timings(engine: Engine, profile: Profile) -> Finding:
    if profile.timings_on(engine.device, engine.name, engine.threads) is not None:
        return ok("timings", f"of this device ({engine.device}), in the profile")
    if 1 in kept_times(engine, profile, wanted_branches(profile)):
        return ok("timings", f"of this device ({engine.device}), kept from an earlier start")
    return ok(
        "timings", f"none of this device ({engine.device}): the first start measures some seconds, and keeps them"
    )


def _keys(configuration: Configuration) -> Iterator[Finding]:
    publish = configuration.publish
    try:
        curve = CurveServer.read(publish.key, publish.clients, None)
    except InvalidInputError as error:
        yield fail("keys", str(error), 'docs/how-to/publish.md tells how they are made and named, under "Keys"')
        return
    if curve is not None:
        count = len(list(curve.clients))
        yield ok("keys", f"{count} client{'s' if count != 1 else ''} may come in")


def _publishing(configuration: Configuration) -> Iterator[Finding]:
    for endpoint in configuration.publish.endpoints:
        with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
            yield _endpoint(publisher, endpoint.address)


def _endpoint(publisher: "zmq.Socket[bytes]", address: str) -> Finding:
    try:
        bound = endpoints.bind(publisher, address)
    except InvalidInputError as error:
        if "in use" in str(error):
            return warn("ZeroMQ", str(error), "no matter if the daemon runs already; else name another port")
        return fail("ZeroMQ", str(error), "name another address under [publish]")
    endpoints.unlink([bound])
    return ok("ZeroMQ", f"{address} can be bound")


def _web(section: WebSection) -> Finding:
    host, port = section.address
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ok("web", f"{section.bind} can be bound")
    except OSError as error:
        remedy = "no matter if the daemon runs already; else name another port under [web]"
        return warn("web", f"{section.bind}: cannot be bound ({error.strerror})", remedy)
