"""The check of a configured camera, opened as the daemon opens it: in a confined process of its own."""

import os
import time
from multiprocessing.connection import wait

from adainf.base.errors import InvalidInputError
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.fault import OF_THE_PROCESS, Fault
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind
from adainfd.config.configuration import CameraSection
from adainfd.doctor.finding import Finding, fail, ok

__all__ = ["examine"]


def examine(section: CameraSection) -> Finding:
    """Check that the camera yields a picture."""
    subject = f"camera {section.name}"
    try:
        settings = section.settings()
    except InvalidInputError as error:
        remedy = 'docs/how-to/cameras.md tells how passwords are kept, under "User and password"'
        return fail(subject, str(error), remedy)
    if settings.source.kind is Kind.DEVICE and (denied := _denied(settings.source.device)):
        return fail(
            subject, f"{denied}: this user may not open it", "usermod -aG video USER; the service is in that group"
        )
    camera = Camera(settings)
    try:
        camera.start()
        _await_picture(camera)
        return _found(subject, settings, camera)
    except OSError as error:
        return fail(subject, f"its process cannot be started ({error.strerror})", _OF_ITS_PROCESS)
    finally:
        camera.close()


def _await_picture(camera: Camera) -> None:
    """Wait until the camera has a picture or fails, within the time limits that the daemon applies."""
    while not camera.opened and (due := camera.lifecycle.due) is not None and camera.failure is None:
        if (connection := camera.connection) is not None:
            wait([connection.fileno()], max(0.0, due - time.monotonic()))
        camera.receive()
        camera.supervise(time.monotonic())


def _found(subject: str, settings: CameraSettings, camera: Camera) -> Finding:
    if camera.shape is None:
        remedy = _CAMERA_REMEDIES[settings.source.kind]
        if (fault := camera.lifecycle.last.fault) is not None:
            remedy = _FAULT_REMEDIES.get(fault, remedy)
        return fail(subject, camera.failure or "ends without a picture", remedy)
    height, width, _ = camera.shape
    paced = f", {1 / camera.interval:g} a second" if camera.interval else ""
    return ok(subject, f"{width}×{height} pixels{paced}")


_CAMERA_REMEDIES = {
    Kind.FILE: "give the path of a video that is there; the service cannot see /home, /root and /tmp",
    Kind.PICTURES: "give a folder with pictures; the service cannot see /home, /root and /tmp",
    Kind.DEVICE: "v4l2-ctl --list-devices shows what is there; close what else uses it",
    Kind.PIPE: "start the program that writes to it; this shows a video: ffmpeg -re -i VIDEO -f mpegts -y PIPE",
    Kind.STREAM: "is it switched on, are address, user and password right? Try it: ffprobe ADDRESS",
}

_OF_ITS_PROCESS = "free memory, and let this user start processes; report this as a bug where both are at hand"
_CONVERT = "set the camera to H.264; convert a file: ffmpeg -i FILE -c:v libx264 NEW.mp4"
_FAULT_REMEDIES = {
    Fault.NO_SUCH_HOST: "is the host spelt right, and does this box know it? Try it: getent hosts HOST",
    Fault.NO_SUCH_PATH: "the camera's manual names the paths of its streams",
    Fault.ACCESS_DENIED: "correct user and password, and percent-encode @ / # ? : % in them (docs/how-to/cameras.md)",
    Fault.TLS_FAILED: "does the camera encrypt at this port? Else use http:// or rtsp://",
    Fault.NOT_VIDEO: "name a video, or the address of a stream instead of a page's",
    Fault.UNKNOWN_CODEC: _CONVERT,
    Fault.NO_PICTURE: _CONVERT,
    **dict.fromkeys(OF_THE_PROCESS, _OF_ITS_PROCESS),
}


def _denied(device: int | str) -> str | None:
    path = f"/dev/video{device}" if isinstance(device, int) else device
    return path if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK) else None  # noqa: PTH110
