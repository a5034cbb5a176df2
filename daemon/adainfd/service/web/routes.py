"""The HTTP routes: the status page, its data, metrics, health and pictures. There are no other paths."""

import asyncio
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec

from adainfd.service.health import Health
from adainfd.service.metrics import Metrics
from adainfd.service.overview import CameraView, DaemonView, Overview
from adainfd.service.pictures import Pictures
from adainfd.service.web.response import Response, Routes

__all__ = ["daemon_routes"]

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_LOOK_EVERY_SECONDS = 0.05


def daemon_routes(overview: Overview, metrics: Metrics, pictures: Pictures, health: Health) -> Routes:
    """Return the routes of a daemon; pictures: one route for each of their cameras."""

    def state() -> Response:
        return Response(msgspec.json.encode(_state(overview, pictures)), "application/json")

    def live() -> Response:
        return _yes_or_no(health.alive, "the main loop hangs, or a thread has ended")

    def ready() -> Response:
        return _yes_or_no(overview.ready, f"state: {_state_in_words(overview.view())}")

    return {
        **_page(),
        "/state": state,
        "/metrics": lambda: Response(metrics.text(), _METRICS),
        "/live": live,
        "/ready": ready,
        **{f"/picture/{camera}": lambda camera=camera: _picture(pictures, camera) for camera in pictures.cameras},  # type: ignore[misc]
    }


def _page() -> Routes:
    """Return routes to the files of the status page, which are read once."""
    folder = files("adainfd.service") / "page"
    responses = {path: Response((folder / name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()}
    return {path: lambda response=response: response for path, response in responses.items()}  # type: ignore[misc]


def _yes_or_no(yes: bool, why_not: str) -> Response:
    return Response(b"yes\n") if yes else Response(f"no: {why_not}\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)


def _state_in_words(view: DaemonView) -> str:
    return f"{view.state or 'starting'}{f', {view.detail}' if view.detail else ''}"


async def _picture(pictures: Pictures, camera: str) -> Response:
    while (jpeg := pictures.jpeg(camera)) is None and pictures.expected(camera):
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    if jpeg is None:
        body = f"{camera} brings no picture now\n".encode()
        return Response(body, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})
    return Response(jpeg, "image/jpeg")


def _state(overview: Overview, pictures: Pictures) -> dict[str, Any]:
    view = overview.view()
    return {
        "host": view.host,
        "state": view.state,
        "ready": overview.ready,
        "hindrances": view.hindrances,
        "reload_failure": view.reload_failure,
        "line": view.line(),
        "model": view.model,
        "frames_per_second": view.frames_per_second,
        "p95_ms": view.p95_ms,
        "subscriptions": view.subscriptions,
        "refused": view.refused,
        "hung_up": view.hung_up,
        "cameras": [_camera(camera, picture=camera.name in pictures.cameras) for camera in view.cameras],
    }


def _camera(camera: CameraView, *, picture: bool) -> dict[str, Any]:
    result = camera.result
    return {
        "name": camera.name,
        "state": camera.state,
        "detail": camera.detail,
        "frames_per_second": camera.frames_per_second,
        "p95_ms": camera.p95_ms,
        "age": camera.age,
        "account": camera.account,
        "labels": None if result is None else result.labels,
        "states": camera.states,
        "budget": None if result is None else result.budget,
        "plan": None if result is None else result.plan,
        "timing_ms": None if result is None else result.timing_ms,
        "picture": picture,
    }
