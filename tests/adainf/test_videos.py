import struct
from contextlib import closing
from pathlib import Path

import cv2
import pytest
from daemons import write_video
from footage import H264, MJPEG, MPEG4, alike, ffmpeg, footage, meant, still, turned, with_noise, with_zeros

from adainf.media.videos import VideoFile


def opened(path: Path) -> VideoFile:
    video = VideoFile(lambda: cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), path)
    assert video.opened
    return video


def played(path: Path):
    """How many frames were decoded, the video at its end, and the times of its frames."""
    video = opened(path)
    decoded, times = 0, []
    while video.grab():
        decoded += video.try_retrieve() is not None
        times.append(video.position)
    video.close()
    assert decoded + sum(passed.frames for passed in video.undecodable) == video.index
    return decoded, video, times


def first(path: Path):
    video = opened(path)
    assert video.grab()
    picture = video.try_retrieve()
    video.close()
    assert picture is not None
    return picture


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A Motion JPEG file of 60 frames."""
    return write_video(tmp_path_factory.mktemp("sound") / "v.avi", 60, moves=lambda _: True)


def test_a_picture_of_zeros_is_one_frame_less(sound):
    for number in (1, 21, 60):
        decoded, video, _ = played(with_zeros(sound, number))
        assert (decoded, video.index, video.broke_off) == (59, 60, None)
        assert [passed.what for passed in video.undecodable] == [f"frame {number}"]


@pytest.mark.parametrize("codec", [H264, MPEG4], ids=["h264", "mpeg4"])
def test_damage_within_a_film_is_passed_over(sound, tmp_path, codec):
    whole = footage(tmp_path / "v.mp4", *codec, source=sound)
    assert played(whole)[0] == 60
    decoded, video, _ = played(with_noise(whole, 0.5, 4000))
    assert 40 < decoded < 60 == video.index
    assert video.broke_off is None


@pytest.mark.parametrize("codec", [H264, MPEG4], ids=["h264", "mpeg4"])
def test_damage_where_frames_have_no_index_leaves_the_rest(sound, tmp_path, codec):
    for suffix in ("mkv", "ts"):
        decoded, video, times = played(with_noise(footage(tmp_path / f"v.{suffix}", *codec, source=sound), 0.5))
        assert decoded > 40
        assert times[-1] == pytest.approx(59 / 25, abs=0.01)
        assert video.broke_off is None


def test_frames_that_are_damaged_at_the_end_are_counted(sound, tmp_path):
    for suffix in ("mp4", "mkv"):
        whole = footage(tmp_path / f"v.{suffix}", *MPEG4, "-bf", "0", source=sound)
        content = bytearray(whole.read_bytes())
        size = _packet_sizes(whole)[-1]
        last = _packets_at(whole)[-1]
        content[last : last + size] = b"\xff" * size
        whole.write_bytes(content)
        decoded, video, _ = played(whole)
        assert (decoded, video.index) == (59, 60)
        assert [passed.what for passed in video.undecodable] == ["frame 60"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_that_need_a_damaged_one_are_counted(sound, tmp_path, suffix):
    whole = footage(tmp_path / f"v.{suffix}", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", source=sound)
    content = bytearray(whole.read_bytes())
    start = content.index(b"mdat") + 4 if suffix == "mp4" else content.index(b"\x1f\x43\xb6\x75") + 24
    content[start : start + 1000] = b"\xff" * 1000
    whole.write_bytes(content)
    decoded, video, _ = played(whole)
    assert (decoded, video.index) == (50, 60)
    assert [passed.what for passed in video.undecodable] == ["frames 1 to 10"]


def _probed(path, what):
    import subprocess

    command = ["ffprobe", "-loglevel", "error", "-show_entries", f"packet={what}", "-of", "csv=p=0", str(path)]
    return [int(line.strip(",")) for line in subprocess.check_output(command, text=True).split()]


def _packet_sizes(path):
    return _probed(path, "size")


def _packets_at(path):
    return _probed(path, "pos") if path.suffix == ".mp4" else [_end_of(path) - _packet_sizes(path)[-1]]


def _end_of(path):
    """Where a Matroska file's last frame ends: before its index, or at the end."""
    content = path.read_bytes()
    index = content.rfind(b"\x1c\x53\xbb\x6b")
    return index if index > 0 else len(content)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", H264), ("mp4", (*H264, "-bf", "2")), ("mkv", H264), ("avi", MPEG4)]
)
def test_frames_that_are_left_out_are_counted_wherever_that_begins(sound, tmp_path, suffix, codec):
    """Also where fewer follow than are to be left out; FFmpeg may go on a little before or behind that place."""
    film = footage(tmp_path / f"v.{suffix}", *codec, source=sound)
    for shown in (1, 7, 30, 48, 57, 59):
        with closing(opened(film)) as video:
            assert all(video.grab() for _ in range(shown))
            grabbed = shown + video.jump("left out", 8)
            while video.grab():
                grabbed += 1
            assert grabbed + sum(left.frames for left in video.undecodable) == 60, shown
            assert not video.grab()


def test_a_film_that_was_trimmed_is_whole(sound, tmp_path):
    """Its container holds frames before the first that is shown, and its edit list leaves them out."""
    whole = footage(tmp_path / "v.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20", source=sound)
    ffmpeg("-ss", "1", "-i", whole, "-c", "copy", tmp_path / "trimmed.mp4")
    decoded, video, _ = played(tmp_path / "trimmed.mp4")
    assert decoded < video.expected
    assert (video.undecodable, video.broke_off) == ([], None)


def test_a_file_that_is_cut_short_is_said_to_break_off(sound, tmp_path):
    for suffix, codec in (("avi", MJPEG), ("mkv", H264), ("avi", MPEG4)):
        whole = footage(tmp_path / f"{codec[1]}.{suffix}", *codec, source=sound)
        decoded, video, _ = played(whole)
        assert (decoded, video.broke_off) == (60, None)
        cut = whole.with_name(f"cut-{whole.name}")
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        decoded, video, _ = played(cut)
        assert 10 < decoded < 50
        assert video.broke_off == f"breaks off after {decoded} of 60 frames"


def test_a_sound_film_of_varying_rate_is_whole_and_tells_its_times(sound, tmp_path):
    """Ten frames at the full rate, then every tenth; Matroska's count of them is an estimate."""
    for suffix in ("mkv", "mp4", "ts"):
        film = footage(
            tmp_path / f"v.{suffix}",
            *("-vf", "select='lt(n,10)+not(mod(n,10))'", "-fps_mode", "vfr"),
            *H264,
            source=sound,
        )
        decoded, video, times = played(film)
        assert (decoded, video.broke_off) == (15, None)
        assert times == pytest.approx([n / 25 for n in [*range(10), *range(10, 60, 10)]], abs=0.002)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_film_is_turned_and_mirrored_as_it_says(orientation, tmp_path):
    """FFmpeg's own program, which turns what it reads, is the judge."""
    film = turned(footage(tmp_path / "v.mp4", *H264, frames=3), orientation)
    picture = first(film)
    assert alike(picture, meant(orientation))
    ffmpeg("-i", film, "-frames:v", "1", tmp_path / "judge.png")
    assert alike(picture, cv2.imread(str(tmp_path / "judge.png")))


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mov", "mjpeg"])
def test_each_picture_of_motion_jpeg_says_which_way_up_it_is(suffix, tmp_path):
    orientations = [6, 6, 1, 3, 8]
    joined = tmp_path / "joined.mjpeg"
    joined.write_bytes(b"".join(still("jpeg", orientation) for orientation in orientations))
    film = joined
    if suffix != "mjpeg":
        film = tmp_path / f"v.{suffix}"
        ffmpeg("-f", "mjpeg", "-i", joined, "-c", "copy", film)
    video = opened(film)
    for orientation in orientations:
        assert video.grab()
        picture = video.try_retrieve()
        assert picture is not None
        assert alike(picture, meant(orientation)), orientation
    assert not video.grab()
    assert video.broke_off is None


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", H264), ("mov", MPEG4), ("mkv", H264), ("ts", H264), ("avi", H264), ("avi", MJPEG), ("webm", ("-g", "5"))],
)
def test_pixels_of_a_film_are_made_square(suffix, codec, tmp_path):
    for aspect, named in ((1.5, "3/2"), (0.75, "3/4")):
        film = footage(tmp_path / f"v.{suffix}", "-vf", f"setsar={named}", *codec)
        assert alike(first(film), meant(1, aspect)), named
        if suffix == "mp4":
            assert alike(first(turned(film, 6)), meant(6, aspect)), "turned"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_is_turned_as_its_encoder_says(suffix, tmp_path):
    """FFmpeg's own program is the judge."""
    film = footage(tmp_path / "v.mp4", *H264, frames=10)
    for said in ("rotate=90", "rotate=270", "flip=horizontal", "flip=vertical:rotate=90"):
        told = tmp_path / f"told.{suffix}"
        ffmpeg("-i", film, "-c", "copy", "-bsf:v", f"h264_metadata=display_orientation=insert:{said}", told)
        ffmpeg("-i", told, "-frames:v", "1", tmp_path / "judge.png")
        assert alike(first(told), cv2.imread(str(tmp_path / "judge.png"))), said


def test_a_matroska_film_is_turned_as_it_says(tmp_path):
    film = footage(tmp_path / "v.mkv", *H264, frames=3)
    roll = b"\x76\x75\x84" + struct.pack(">f", 90.0)
    projection = b"\x76\x70\x8b\x76\x71\x81\x00" + roll
    film.write_bytes(_grown(film.read_bytes(), ["18538067", "1654ae6b", "ae", "e0"], projection))
    picture = first(film)
    assert alike(picture, meant(6)) or alike(picture, meant(8))


def _grown(content, path, inserted):
    """Matroska with more in the element at this path: the lengths around it grow, and stand in eight bytes."""
    start, end = 0, len(content)
    lengths = []
    for wanted in path:
        start, (at, width) = _found(content, start, end, bytes.fromhex(wanted))
        lengths.append((at, width))
        end = len(content)
    out, grown = inserted + content[start:], len(inserted)
    done = start
    for at, width in reversed(lengths):
        value = int.from_bytes(content[at : at + width], "big") & ((1 << 7 * width) - 1)
        out = (1 << 56 | value + grown).to_bytes(8, "big") + content[at + width : done] + out
        grown += 8 - width
        done = at
    return content[:done] + out


def _found(content, start, end, wanted):
    """Where the content of an element begins, and where its length stands in so many bytes."""
    while start < end:
        name = start + 9 - content[start].bit_length()
        width = 9 - content[name].bit_length()
        if content[start:name] == wanted:
            return name + width, (name, width)
        start = name + width + (int.from_bytes(content[name : name + width], "big") & ((1 << 7 * width) - 1))
    raise AssertionError(wanted)
