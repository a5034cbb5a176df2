#!/usr/bin/python3
"""rtsp_server.py FILE.h264 PORT [FPS]: an RTSP server that shows an H.264 byte stream, looped, at /cam.

For the system's Python, with Debian's python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good. The file
has an access unit delimiter before each frame, and no B-frames.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

DELIMITER = b"\0\0\0\1\x09"


def main(file: str, port: str, fps: str = "25") -> None:
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
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {port}")
    print("listening", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
