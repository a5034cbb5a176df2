"""Opening videos with FFmpeg, which may treat a local file as a video only, whatever its content.

FFmpeg detects playlists (HLS, concat, SDP, DASH) by content, not by name. Unrestricted, it would open the files and
addresses that the author of a playlist chose.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cv2

__all__ = ["VIDEOS", "opened", "opened_file", "owners_options", "restriction"]

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

VIDEOS = (
    *"""
    3dostr 4xm alias_pix amv apng asf asf_o av1 avi avs avs2 avs3 bethsoftvid bfi bink bmv brender_pix c93 cavsvideo
    cdg cdxl cine dhav dirac dnxhd dsicin dv dxa ea evc film_cpk filmstrip flic flv frm gdv gif gxf h261 h263 h264
    hevc hnm hxvs idcin ifv image2pipe ingenient ipmovie ipu iv8 ivf ivr jpegxl_anim jv kux live_flv lmlm4 luodat
    lvf lxf m4v matroska mgsts mjpeg mjpeg_2000 mm mods moflex mov mpeg mpegts mpegvideo mpjpeg mtv mv mvi mxf mxg
    nc nsv nut nuv obu ogg paf pdv pmp psxstr pva r3d rl2 rm roq rpl ser sga simbiosis_imx smjpeg smk smush swf thp
    tiertexseq tmv txd ty usm vc1 vc1test vividas vivo vmd vvc wc3movie wsvqa wtv xmv yop yuv4mpegpipe bmp_pipe
    cri_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe
    jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe pictor_pipe png_pipe
    ppm_pipe psd_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe
    """.split(),  # noqa: SIM905 - a table
)
"""FFmpeg's formats that contain video and open no other file; hls, concat, sdp, image2 and vobsub are excluded."""


def opened(address: str, parameters: Sequence[int], options: str) -> "cv2.VideoCapture":
    """Open a capture by FFmpeg with `options` for FFmpeg itself; check `cv2.VideoCapture.isOpened` for success."""
    import cv2

    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = options  # OpenCV reads FFmpeg options only from here, while opening
    try:
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, parameters)
    finally:
        if before is None:
            del os.environ[_OPTIONS]
        else:
            os.environ[_OPTIONS] = before


def opened_file(path: str | Path, parameters: Sequence[int] = ()) -> "cv2.VideoCapture":
    """Open a capture of a local video that decodes on a single thread."""
    import cv2

    # With an explicit scheme, the `a:` of a name such as a:b.mp4 is not taken for a protocol.
    address, single = f"file:{path}", (cv2.CAP_PROP_N_THREADS, 1)
    return opened(address, (*single, *parameters), _joined(owners_options(), restriction(VIDEOS, ("file",))))


def restriction(formats: Sequence[str], protocols: Sequence[str]) -> str:
    """Return the options that limit FFmpeg to these formats and protocols; append them last so that they prevail."""
    return f"format_whitelist;{','.join(formats)}|protocol_whitelist;{','.join(protocols)}"


def owners_options() -> str | None:
    """Return the FFmpeg options from the environment of this process, or None if there are none."""
    return os.environ.get(_OPTIONS) or None


def _joined(*options: str | None) -> str:
    return "|".join(filter(None, options))
