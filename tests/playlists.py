"""Local files that name others, and a service that nobody may ask because of them."""

import contextlib
import socket

LOCAL = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nADDRESS\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile 'ADDRESS'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video PORT RTP/AVP 33\n",
    "DASH": "<?xml version='1.0'?><MPD><Period><BaseURL>ADDRESS</BaseURL></Period></MPD>",
}


def of(kind: str, address: str, port: int = 9) -> str:
    """The content of a playlist of this kind, which names an address, or of a session at a port."""
    return LOCAL[kind].replace("ADDRESS", address).replace("PORT", str(port))


class Elsewhere:
    """A service of this box that no camera may reach; `asked` says whether somebody connected or sent a datagram."""

    def __init__(self) -> None:
        self._stream = socket.create_server(("127.0.0.1", 0))
        self.port = self._stream.getsockname()[1]
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.2", self.port))
        self._stream.setblocking(False)
        self._datagrams.setblocking(False)

    @property
    def asked(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._stream.accept()[0].close()
            return True
        with contextlib.suppress(BlockingIOError):
            self._datagrams.recv(1)
            return True
        return False

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._datagrams.close()
