"""What FFmpeg may take a source for: containers and codecs, and playlists only where its lookups are guarded."""

from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind

__all__ = ["options"]

# Of FFmpeg's formats those that hold video and open nothing else. Without it hls, concat, sdp, image2 and vobsub are
# known by what a file begins with, whatever its name, and open what they name.
_VIDEOS = """
    3dostr 4xm alias_pix amv apng asf asf_o av1 avi avs avs2 avs3 bethsoftvid bfi bink bmv brender_pix c93 cavsvideo
    cdg cdxl cine dhav dirac dnxhd dsicin dv dxa ea evc film_cpk filmstrip flic flv frm gdv gif gxf h261 h263 h264
    hevc hnm hxvs idcin ifv image2pipe ingenient ipmovie ipu iv8 ivf ivr jpegxl_anim jv kux live_flv lmlm4 luodat
    lvf lxf m4v matroska mgsts mjpeg mjpeg_2000 mm mods moflex mov mpeg mpegts mpegvideo mpjpeg mtv mv mvi mxf mxg
    nc nsv nut nuv obu ogg paf pdv pmp psxstr pva r3d rl2 rm roq rpl ser sga simbiosis_imx smjpeg smk smush swf thp
    tiertexseq tmv txd ty usm vc1 vc1test vividas vivo vmd vvc wc3movie wsvqa wtv xmv yop yuv4mpegpipe bmp_pipe
    cri_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe
    jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe pictor_pipe png_pipe
    ppm_pipe psd_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe
""".split()  # noqa: SIM905 - a table
# A playlist names sound and text of a video apart from its pictures.
_PLAYLISTS = ("hls", "aac", "ac3", "eac3", "mp3", "webvtt")
_PROTOCOLS = {Kind.FILE: ("file",), Kind.PIPE: ("pipe",)}
_OF_WEB = ("http", "https", "tls", "tcp", "crypto")
_OF_RTSP = ("rtsp", "rtsps", "rtp", "srtp", "udp", "tcp", "tls")
_OTHERS = """
    http https tls tcp udp udplite rtp srtp dtls crypto ftp gopher gophers mmsh mmst rtmp rtmpe rtmps rtmpt rtmpte
    rtmpts ffrtmpcrypt ffrtmphttp icecast sctp srt rist sftp
""".split()  # noqa: SIM905 - a table


def options(settings: CameraSettings, owners: str | None = None) -> str:
    """FFmpeg's options for a camera's source, as OpenCV takes them.

    owners: those of the environment; they may not widen the others, which come after them.
    """
    formats, protocols = _allowed(settings)
    guarding = f"format_whitelist;{','.join(formats)}|protocol_whitelist;{','.join(protocols)}"
    return f"{owners or f'rtsp_transport;{settings.transport}'}|{guarding}"


def _allowed(settings: CameraSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    source = settings.source
    match source.scheme:
        case "http" | "https":
            return (*_VIDEOS, *_PLAYLISTS), _OF_WEB
        case "rtsp" | "rtsps":
            return ("rtsp",), _OF_RTSP
        case "rtp":
            return ("rtp", "sdp"), _OF_RTSP
        case None:
            return (*_VIDEOS,), _PROTOCOLS.get(source.kind, ())
        case scheme:
            return (*_VIDEOS,), (*_OTHERS, *([scheme] if scheme == "unix" else []))
