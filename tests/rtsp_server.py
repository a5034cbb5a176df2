#!/usr/bin/python3
"""rtsp_server.py FILE.h264 PORT [FPS [basic|digest USER PASSWORD]]: an RTSP server.

It shows an H.264 byte stream, looped, at /cam, and sound at /sound; to that user alone, where one is named.

For the system's Python, with Debian's python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good. The file
has an access unit delimiter before each frame, and no B-frames.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

DELIMITER = b"\0\0\0\1\x09"


def main(file: str, port: str, fps: str = "25", scheme: str = "", user: str = "", password: str = "") -> None:
    Gst.init(None)
    frames = [DELIMITER + frame for frame in Path(file).read_bytes().split(DELIMITER)[1:]]
    interval = Gst.SECOND // int(fps)

    def configure(_factory: object, media: object) -> None:
        sent = 0

        def feed(source: object, _length: int) -> None:
            nonlocal sent
            buffer = Gst.Buffer.new_wrapped(frames[sent % len(frames)])
            # Without times a client needs five seconds to open the stream.
            buffer.pts = buffer.dts = sent * interval
            buffer.duration = interval
            sent += 1
            source.emit("push-buffer", buffer)

        media.get_element().get_by_name("source").connect("need-data", feed)

    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(
        "( appsrc name=source is-live=true format=time max-buffers=5 "
        "caps=video/x-h264,stream-format=byte-stream,alignment=au ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    sound = GstRtspServer.RTSPMediaFactory(shared=True)
    sound.set_launch("( audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! rtpL16pay name=pay0 pt=97 )")
    if scheme:
        protect(server, (factory, sound), scheme, user, password)
    server.get_mount_points().add_factory("/cam", factory)
    server.get_mount_points().add_factory("/sound", sound)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {port}")
    print("listening", flush=True)
    GLib.MainLoop().run()


def protect(server: object, factories: tuple[object, ...], scheme: str, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if scheme == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    for factory in factories:
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", permission, True)
        factory.set_permissions(permissions)


if __name__ == "__main__":
    main(*sys.argv[1:])
