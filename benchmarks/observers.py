"""The cost of observers: metrics, status page and notifications, as a share of one core.

    .venv/bin/python benchmarks/observers.py

Sends recorded results to all observers at the rate of four cameras with ten frames per second each, with heartbeats and
turns of the main loop between them. The page's state is requested once a second, the metrics every five seconds. The
CPU time used is divided by the wall time that is simulated; the limit is 1 %.
"""

import socket
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from adainfd.service.health import Health
from adainfd.service.metrics import Metrics
from adainfd.service.notify import Notifier
from adainfd.service.overview import Overview
from adainfd.service.pictures import Pictures
from adainfd.service.web.routes import daemon_routes
from adainfd.wire import messages
from adainfd.wire.observing import Observers

CAMERAS = ("door", "yard", "street", "shelf")
FRAMES_A_SECOND = 10
SECONDS = 60
LIMIT = 0.01


def main() -> None:
    """Measure and print; the exit status is 1 if the limit is missed."""
    now = 0.0
    overview = Overview(lambda: now)
    metrics, pictures, health = Metrics(overview), Pictures(CAMERAS, lambda: now), Health(lambda: now)
    picture = np.zeros((1080, 1920, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(Path(folder) / "notify")
        manager.bind(path)
        observer = Observers([overview, Notifier(path, overview, 20.0, lambda: now), metrics, pictures, health])
        routes = daemon_routes(overview, metrics, pictures, health)
        began = time.process_time()
        for frame in range(1, SECONDS * FRAMES_A_SECOND + 1):
            now = frame / FRAMES_A_SECOND
            for camera in CAMERAS:
                observer.published(result(camera, frame))
                observer.answered(camera, picture)
            observer.turned()
            if frame % FRAMES_A_SECOND == 0:
                observer.published(heartbeat(frame))
                routes["/state"]()
                for camera in CAMERAS:
                    routes[f"/picture/{camera}"]()
            if frame % (5 * FRAMES_A_SECOND) == 0:
                routes["/metrics"]()
            manager.setblocking(False)
            try:
                while manager.recv(4096):
                    pass
            except BlockingIOError:
                pass
        used = time.process_time() - began
    share = used / SECONDS
    print(f"{len(CAMERAS)} cameras of {FRAMES_A_SECOND} frames a second, 1080p: {100 * share:.2f} % of one core")
    print(f"limit: {100 * LIMIT:.0f} %")
    sys.exit(share > LIMIT)


def result(camera: str, frame: int) -> messages.Result:
    """Return a message that a daemon publishes for a frame."""
    return messages.Result(
        host="edge1",
        camera=camera,
        sequence=frame,
        frame=frame,
        captured_at=0.0,
        published_at=0.0,
        labels=[messages.Label("mountain bike", 671, 0.83)],
        budget=messages.ResultBudget(0.61, "contention"),
        plan=messages.Plan("192:1110110111011101", "lookup", 201_300_000, 0.52, 0.84),
        signals=messages.ResultSignals(0.02, 0.03, None, None, 0.4, 0.5),
        timing_ms=messages.Timing(3.1, 1.9, 11.8, 17.4),
        dropped=messages.Dropped(12, 0),
    )


def heartbeat(frame: int) -> messages.Status:
    """Return a message that a daemon publishes every second."""
    account = messages.Account("online", frame, frame, 0, 0, messages.Dropped(0, 0), 0)
    cameras = dict.fromkeys(CAMERAS, account)
    return messages.Status(host="edge1", sequence=frame, state="ready", published_at=0.0, cameras=cameras)


if __name__ == "__main__":
    main()
