"""Whatever a broker sends, and however slow it is: the relay's side of the connection goes on within its bounds."""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adainfd.relaying.config import MqttSection
from adainfd.relaying.mqtt.broker import Broker
from brokers import certified
from daemons import await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTProtocolVersion
from streams import Log

WELCOME_5, WELCOME_311 = b"\x20\x03\0\0\0", b"\x20\x02\0\0"
OTHER_VERSION = b"\x20\x02\0\x01"


class Lines(Log):
    info = Log.warning


class Server:
    """Stands in for a broker, byte by byte."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.log, self.connects = Lines(), 0
        self.received: list[tuple[str, bytes, bool]] = []
        section = MqttSection(url=f"mqtt://127.0.0.1:{self.listener.getsockname()[1]}")
        self.broker = Broker(
            section, "x", ("gone", b"yes"), self.log, connected=self._connected, received=self._received
        )

    def _connected(self) -> None:
        self.connects += 1

    def _received(self, *told: Any) -> None:
        self.received.append(told)

    def accept(self, *sent: bytes) -> socket.socket:
        """Let the relay connect, and answer it."""
        self.broker._connect_at = 0.0
        for _ in range(3):
            if select.select([self.listener], [], [], 0)[0]:
                break
            self.broker.attend()
        connection, _ = self.listener.accept()
        connection.recv(1 << 16)
        self.send(connection, *sent)
        return connection

    def send(self, connection: socket.socket, *sent: bytes) -> None:
        for piece in sent:
            connection.sendall(piece)
        self.attend()

    def attend(self) -> None:
        for _ in range(10):
            self.broker.attend()
            self.broker.wait((), 0)

    def close(self) -> None:
        self.listener.close()
        if (connected := self.broker._client.socket()) is not None:
            connected.close()


@pytest.fixture
def server() -> Iterator[Server]:
    opened = Server()
    yield opened
    opened.close()


def test_an_older_broker_is_spoken_to_in_its_own_version(server: Server) -> None:
    server.accept(OTHER_VERSION).close()
    server.attend()
    with server.accept(WELCOME_311):
        assert server.broker.connected
        assert server.connects == 1
    assert [event for event, _ in server.log.lines] == []


def test_an_older_broker_is_logged_in_to_by_tls(tmp_path: Path) -> None:
    certificate, password = tmp_path / "broker.pem", tmp_path / "password"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certified(certificate))
    password.write_text("agreed\n", encoding="utf-8")
    password.chmod(0o600)
    asked, held = [], []
    with context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:

        def serve() -> None:
            for answer in (OTHER_VERSION, WELCOME_311):
                held.append(listener.accept()[0])
                asked.append(held[-1].recv(1 << 16))
                held[-1].sendall(answer)
                if answer is OTHER_VERSION:
                    held[-1].close()

        section = MqttSection(
            url=f"mqtts://localhost:{listener.getsockname()[1]}",
            user="adainf",
            password_file=password,
            ca_file=certificate,
        )
        log = Lines()
        broker = Broker(section, "x", ("gone", b"yes"), log, connected=lambda: None, received=lambda *_: None)
        serving = threading.Thread(target=serve)
        serving.start()

        def connected() -> bool:
            broker.attend()
            broker.wait((), 0.01)
            return broker.connected

        await_true(connected, 10, "the broker lets it in")
        serving.join()
        broker.leave()
        held[-1].close()
    assert [b"\0\4MQTT" + bytes([level]) in told for told, level in zip(asked, (5, 4), strict=True)] == [True, True]
    assert all(b"\0\6adainf\0\6agreed" in told for told in asked)
    assert log.lines == []


def test_a_broker_that_confirms_nothing_is_sent_no_more(server: Server) -> None:
    with server.accept(WELCOME_5):
        taken = [server.broker.publish("event", b"x") for _ in range(1000)]
        kept = [server.broker.keep("state", b"x") for _ in range(1000)]
        assert (sum(taken), sum(kept)) == (20, 20)
    server.attend()
    with server.accept(WELCOME_5):
        assert server.broker.unanswered == 20, "the events are sent again; states are by whoever keeps them"


def test_a_packet_that_is_too_large_is_not_waited_for(server: Server) -> None:
    with server.accept(WELCOME_5, b"\x30\xff\xff\xff\x7f", b"x" * 100):
        assert not server.broker.connected
    assert "packet of more than" in server.log.lines[-1][1]["why"]
    with server.accept(WELCOME_5):
        assert server.broker.connected


def test_topics_that_are_no_text_are_passed_over(server: Server) -> None:
    with server.accept(WELCOME_5, b"\x30\x06\0\x02\xff\xfe\0x", b"\x30\x05\0\x01t\0x"):
        assert server.received == [("t", b"x", False)]


packets = st.builds(
    lambda kind, size, body: bytes([kind, len(body) if size is None else size]) + body,
    st.integers(0, 255),
    st.none() | st.integers(0, 255),
    st.binary(max_size=40),
)


@pytest.mark.generated
@generous(200)
@given(st.lists(packets, min_size=1, max_size=4), st.booleans())
def test_whatever_a_broker_sends_is_survived(server: Server, sent: list[bytes], welcome: bool) -> None:
    with server.accept(*([WELCOME_5] if welcome else []), *sent):
        pass
    server.attend()
    before = server.connects
    with server.accept() as connection:  # it may have been told to speak the older version
        server.send(
            connection, WELCOME_5 if server.broker._client._protocol == MQTTProtocolVersion.MQTTv5 else WELCOME_311
        )
        assert server.connects == before + 1
    server.attend()
    server.broker._protocol = MQTTProtocolVersion.MQTTv5
    server.log.lines.clear()
    server.received.clear()


def test_whatever_paho_raises_ends_the_connection_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.accept(WELCOME_5):
        monkeypatch.setattr(server.broker._client, "loop_read", lambda: [][1])
        server.attend()
        assert not server.broker.connected
    assert "what is no MQTT" in server.log.lines[-1][1]["why"]
    with server.accept(WELCOME_5):
        assert server.broker.connected
