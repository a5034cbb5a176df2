"""An MQTT broker (Debian's mosquitto), what it keeps, and boxes whose hearts beat."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq
from adainfd.wire.messages import Account, Dropped, Event, Label, Present, Seen, State, Status, ViewState, topic_of
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true, free_port
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion


def certified(certificate: Path) -> Path:
    """A certificate for localhost that vouches for itself; the file of its key."""
    key = certificate.with_suffix(".key")
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", "req", *kind.split(), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key


class Broker:
    """Mosquitto, started and killed at will; it forgets what it retained."""

    def __init__(self, program: str, folder: Path, *, password: str | None = None, tls: bool = False) -> None:
        """tls: with a certificate for localhost, which `authority` vouches for."""
        self.port = free_port()
        self.authority = folder / "broker.pem"
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {'false' if password else 'true'}", "user root"]
        if tls:
            key = certified(self.authority)
            lines += [f"certfile {self.authority}", f"keyfile {key}"]
        if password:
            file = folder / "passwords"
            file.write_text(f"adainf:{password}\n", encoding="utf-8")
            subprocess.run(["mosquitto_passwd", "-U", file], check=True)
            lines.append(f"password_file {file}")
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        await_true(answers, 10, "mosquitto answers")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def event_of(host: str, camera: str, region: str | None, label: str, event: Any = "appeared") -> Callable[[int], Event]:
    seen = Seen(frame=1, captured_at=1.0)
    return lambda number: Event(
        host=host,
        camera=camera,
        region=region,
        sequence=number,
        published_at=1.0,
        event=event,
        label=label,
        index=0,
        score=0.9 if label == "dog" else 0.8,
        first=seen,
        last=seen,
        seconds=0.0,
    )


class Attacker:
    """A box that sends what it likes."""

    def __init__(self, endpoint: str, queued: int = 0) -> None:
        """queued: messages that wait for a slow reader, later ones are dropped; all wait by default."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.SNDHWM, queued)
        self.socket.bind(endpoint)

    def await_subscribed(self) -> None:
        for _ in range(2):
            assert self.socket.poll(20_000), "no subscription"
            self.socket.recv()

    def send(self, topic: str | bytes, body: object) -> None:
        packed = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.socket.send_multipart([topic.encode() if isinstance(topic, str) else topic, packed])

    def close(self) -> None:
        self._context.destroy(linger=0)


def a_status(host: str, camera: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"schema": "adainf.status/1", "host": host, "camera": camera, "sequence": 1, "started_at": 1.0}
    return {**told, "state": "online" if camera else "ready", "published_at": 1.0, **more}


def state_of(host: str, camera: str, region: str | None, state: str | None, number: int = 1, **more: Any) -> State:
    told: dict[str, Any] = {"options": ["closed", "open", "unknown"], "since": 1.0, "score": 0.9, **more}
    return State(host=host, camera=camera, region=region, sequence=number, published_at=1.0, state=state, **told)


Views = Mapping[tuple[str, str | None], list[str]]


class Beating:
    """A box whose heart beats: each time it says that these views of its cameras show these labels."""

    def __init__(self, endpoint: str, host: str, views: Views, state: str = "ready") -> None:
        self.views, self.state, self.beats = views, state, 0
        self.states: dict[tuple[str, str | None], str | None] = {}
        """The states of views, as heartbeats tell them."""
        self.changes: list[State] = []
        """Add a state to have it told."""
        self.happens = False
        """Set it to have an event of the camera door told."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(endpoint, host))
        self._thread.start()

    def _run(self, endpoint: str, host: str) -> None:
        publisher = Publisher([endpoint])
        for (camera, region), labels in self.views.items():  # said again before the heartbeat
            for label in labels:
                publisher.send(f"event/{host}/{camera}", event_of(host, camera, region, label))
        while not self._ended.wait(0.05):
            publisher.resend_last()
            self.beats += 1
            if self.happens:
                self.happens = False
                publisher.send(f"event/{host}/door", event_of(host, "door", None, "cat"))
            while self.changes:
                change = self.changes.pop(0)
                publisher.send(topic_of(change), lambda _, change=change: change)  # type: ignore[misc]
                self.states[change.camera, change.region] = change.state
            publisher.send(f"status/{host}", lambda number: self._status(host, number))
        publisher.close()

    def _status(self, host: str, number: int) -> Status:
        account = Account("online", number, number, 0, 0, Dropped(0, 0), 0)
        return Status(
            host=host,
            sequence=number,
            state=self.state,  # type: ignore[arg-type]
            published_at=time.time(),
            cameras={camera: account for camera, _ in self.views},
            present=[
                Present(camera, region, [Label(label, 0, 0.9) for label in labels])
                for (camera, region), labels in self.views.items()
            ],
            states=[ViewState(*view, state, 0.9, 1.0) for view, state in self.states.items()],
        )

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@contextlib.contextmanager
def keeping(broker: Broker) -> Iterator[tuple[paho.Client, dict[str, list[str]]]]:
    """A client to publish with, and all payloads by topic, as they come."""
    heard: dict[str, list[str]] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, told: heard.setdefault(told.topic, []).append(
        told.payload.decode(errors="replace")
    )
    client.on_connect = lambda connected, *_: connected.subscribe("#", qos=1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client, heard
    finally:
        client.disconnect()
        client.loop_stop()


def kept(heard: Mapping[str, list[str]]) -> dict[str, str]:
    """The topics that the broker still keeps."""
    told = [
        (topic, payloads) for topic, payloads in heard.copy().items() if payloads
    ]  # its thread goes on to write them
    return {topic: payloads[-1] for topic, payloads in told if payloads[-1]}
