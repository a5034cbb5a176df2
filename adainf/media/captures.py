"""Videos as FFmpeg opens them. A local file is a video and nothing else, whatever it begins with.

Playlists (HLS, concat, SDP, DASH) are known by their content, not by their name: FFmpeg would open what they name,
other files and addresses, for whoever wrote the file.
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
"""The formats that hold video and open nothing else. hls, concat, sdp, image2 and vobsub are left out."""


def opened(address: str, parameters: Sequence[int], options: str) -> "cv2.VideoCapture":
    """A capture by FFmpeg, with these options of its own; see `cv2.VideoCapture.isOpened`."""
    import cv2

    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = options  # OpenCV takes them nowhere else, and only while it opens
    try:
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, parameters)
    finally:
        if before is None:
            del os.environ[_OPTIONS]
        else:
            os.environ[_OPTIONS] = before


def opened_file(path: str | Path, parameters: Sequence[int] = ()) -> "cv2.VideoCapture":
    """A capture of a local video, decoded by one thread."""
    import cv2

    # A name such as a:b.mp4 is no protocol where it says what it is.
    address, single = f"file:{path}", (cv2.CAP_PROP_N_THREADS, 1)
    return opened(address, (*single, *parameters), _joined(owners_options(), restriction(VIDEOS, ("file",))))


def restriction(formats: Sequence[str], protocols: Sequence[str]) -> str:
    """The options that leave FFmpeg these formats and protocols; they stand behind all others, and so prevail."""
    return f"format_whitelist;{','.join(formats)}|protocol_whitelist;{','.join(protocols)}"


def owners_options() -> str | None:
    """The options of FFmpeg that the environment of this process gives; None where it gives none."""
    return os.environ.get(_OPTIONS) or None


def _joined(*options: str | None) -> str:
    return "|".join(filter(None, options))
