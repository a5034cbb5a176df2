"""What one configuration needs: cameras, model, profile, policy, and addresses to serve at."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import zmq

from adainf.errors import AdainfError, InvalidInputError, UnavailableError
from adainf.profile import Profile
from adainfd.capture.source import Kind, SourceError, without_credentials
from adainfd.config import CameraSection, Configuration, WebSection
from adainfd.control import Policy
from adainfd.doctor.box import readable_by_all
from adainfd.doctor.finding import Finding, fail, ok, warn
from adainfd.model import fits, opening, read_profile
from adainfd.wire import endpoint as endpoints
from adainfd.wire.keys import AllowList, KeyPair

__all__ = ["examine"]


def examine(file: Path) -> Iterator[Finding]:
    """Look at all that the configuration `file` names."""
    try:
        configuration = Configuration.read(file)
    except InvalidInputError as error:
        yield fail(
            "configuration", str(error), "correct the file; docs/schemas/configuration.json says what is allowed"
        )
        return
    yield _file(file, configuration)
    yield _policy(configuration)
    yield from _model(configuration)
    if not configuration.camera:
        yield fail("cameras", "none are named", f"add a [[camera]] to {file}")
    for camera in configuration.camera:
        yield _camera(camera)
    yield from _publishing(configuration)
    if configuration.web is not None:
        yield _web(configuration.web)


def _file(file: Path, configuration: Configuration) -> Finding:
    secret = any(without_credentials(camera.source) != camera.source for camera in configuration.camera)
    if secret and readable_by_all(file):
        remedy = f"chgrp adainf {file} && chmod 640 {file}"
        return warn("configuration", f"{file}: holds a password, and everyone may read it", remedy)
    return ok("configuration", f"{file}: is valid")


def _policy(configuration: Configuration) -> Finding:
    name = configuration.model.policy
    try:
        Policy.read(name)
    except InvalidInputError as error:
        return fail("policy", str(error), "correct the file; calibration/README.md explains policies")
    return ok("policy", name)


def _model(configuration: Configuration) -> Iterator[Finding]:
    try:
        profile = read_profile(configuration.model)
    except InvalidInputError as error:
        yield fail("profile", str(error), "name a profile made for this model, or make it: adainf calibrate")
        return
    # Weights that are not here yet are not downloaded just to look at them.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        engine = opening(configuration, profile).open()
        same_weights = fits(engine, profile, configuration.model)
    except UnavailableError as error:
        remedy = f"adainf fetch {profile.backbone}; else the first start downloads them"
        yield warn("weights", f"are not here yet ({error})", remedy)
        return
    except AdainfError as error:
        yield fail("weights", str(error), "give the right weights, or calibrate a profile for these")
        return
    yield ok("weights", f"{profile.backbone}: {len(engine.class_names)} classes")
    if not same_weights:
        yield warn("profile", "was made for other weights: its accuracies are not theirs", "adainf calibrate")
    else:
        yield ok("profile", f"{len(profile.branches)} branches, made for these weights")
    yield _timings(profile)


def _timings(profile: Profile) -> Finding:
    from adainf.engines.processor import processor_name

    devices = sorted({timings.device for timings in profile.timings})
    if processor_name() in devices:
        return ok("timings", f"of this device ({processor_name()})")
    return ok(
        "timings", f"none of this device ({processor_name()}): the first start measures some seconds, and keeps them"
    )


def _camera(section: CameraSection) -> Finding:
    from adainfd.capture.reader import open_reader

    subject, settings = f"camera {section.name}", section.settings()
    if settings.source.kind is Kind.DEVICE and (denied := _denied(settings.source.address)):
        return fail(
            subject, f"{denied}: this user may not open it", "usermod -aG video USER; the service is in that group"
        )
    try:
        reader = open_reader(settings)
        try:
            picture = None
            while picture is None and reader.grab():
                picture = reader.retrieve()
            rate = reader.frames_per_second
        finally:
            reader.close()
    except SourceError as error:
        return fail(subject, str(error), _CAMERA_REMEDIES[settings.source.kind])
    if picture is None:
        return fail(
            subject, f"source {settings.source}: opens, but gives no picture", "look at it with another program"
        )
    return ok(subject, f"{picture.shape[1]}×{picture.shape[0]} pixels, {rate:g} a second")


_CAMERA_REMEDIES = {
    Kind.FILE: "give the path of a video that is there; the service cannot see /home, /root and /tmp",
    Kind.PICTURES: "give a folder with pictures; the service cannot see /home, /root and /tmp",
    Kind.DEVICE: "v4l2-ctl --list-devices shows what is there; close what else uses it",
    Kind.STREAM: "is it switched on, are address, user and password right? Try it: ffprobe ADDRESS",
}


def _denied(address: str) -> str | None:
    path = Path(f"/dev/video{address}" if address.isdigit() else address)
    return str(path) if path.exists() and not os.access(path, os.R_OK | os.W_OK) else None


def _publishing(configuration: Configuration) -> Iterator[Finding]:
    publish = configuration.publish
    if publish.key is not None and publish.clients is not None:
        try:
            KeyPair.read(publish.key)
            count = len(list(AllowList(publish.clients)))
        except InvalidInputError as error:
            yield fail("keys", str(error), "adainfd keys new, as docs/publishing.md tells")
        else:
            yield ok("keys", f"{count} client{'s' if count != 1 else ''} may come in")
    for endpoint in publish.endpoints:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            bound = endpoints.bind(context.socket(zmq.XPUB), endpoint.address)
        except InvalidInputError as error:
            if "in use" in str(error):
                yield warn("ZeroMQ", str(error), "no matter if the daemon runs already; else name another port")
            else:
                yield fail("ZeroMQ", str(error), "name another address under [publish]")
        else:
            endpoints.unlink([bound])
            yield ok("ZeroMQ", f"{endpoint.address} can be bound")
        finally:
            context.destroy(linger=0)


def _web(section: WebSection) -> Finding:
    host, port = section.address
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ok("web", f"{section.bind} can be bound")
    except OSError as error:
        remedy = "no matter if the daemon runs already; else name another port under [web]"
        return warn("web", f"{section.bind}: cannot be bound ({error.strerror})", remedy)
