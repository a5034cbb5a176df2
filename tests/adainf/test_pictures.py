import contextlib
import io
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from footage import alike, corners, giant_png, meant, still
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adainf.base.errors import printable
from adainf.media import checking, images, jpeg
from adainf.media.pictures import decode, decoded, header
from adainf.media.undecodable import UndecodableError

KINDS = ("jpeg", "png", "webp", "tiff", "avif", "gif", "bmp")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_picture_is_upright_whatever_its_kind(kind):
    for orientation in range(1, 9):
        assert alike(decoded(still(kind, orientation), "it"), meant(orientation)), orientation


def test_a_png_may_say_behind_its_pixels_which_way_up_it_is():
    content = still("png", 6)
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    moved = content[:start] + content[end:last] + content[start:end] + content[last:]
    assert moved.index(b"eXIf") > moved.index(b"IDAT")
    assert alike(decoded(moved, "it"), meant(6))


def test_a_head_is_read_without_the_pixels():
    content = cv2.imencode(".png", np.zeros((8000, 8000, 3), np.uint8))[1].tobytes()
    began = time.process_time()
    head = header(io.BytesIO(content), "it")
    assert head is not None
    assert (head.width, head.height) == (8000, 8000)
    took = time.process_time() - began
    began = time.process_time()
    assert decoded(content, "it").shape == (8000, 8000, 3)
    assert took < (time.process_time() - began) / 5


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "bmp"])
def test_pixels_are_made_square(kind):
    for density, aspect in (((100, 150), 1.5), ((150, 100), 2 / 3), ((1, 1000), 1.0)):
        for orientation in (1,) if kind == "bmp" else (1, 3, 6, 7):
            picture = decoded(still(kind, orientation, density), "it")
            assert alike(picture, meant(orientation, aspect)), (density, orientation)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_and_decoded(kind, tmp_path):
    (tmp_path / f"it.{kind}").write_bytes(still(kind))
    (found,) = images.listing(tmp_path, labelled=False)
    assert alike(decode(found.path), corners())


def test_of_an_animated_picture_the_first_is_taken(tmp_path):
    from PIL import Image

    first, second = (Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (200, 20))
    first.save(tmp_path / "it.gif", save_all=True, append_images=[second])
    assert abs(float(decode(tmp_path / "it.gif").mean()) - 200) < 3


def giants():
    jpeg, bmp, gif = (bytearray(still(kind)) for kind in ("jpeg", "bmp", "gif"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = b"\xff\x00\xff\x00"
    bmp[18:26] = (60_000).to_bytes(4, "little") * 2
    gif[6:10] = b"\xff\xff\xff\xff"
    return {"png": giant_png(), "wide.png": giant_png(2**31 - 1, 1), "jpeg": jpeg, "bmp": bmp, "gif": gif}


def test_what_claims_to_be_a_giant_is_refused_unread():
    for kind, content in giants().items():
        with pytest.raises(UndecodableError, match=r"at most 179 megapixels are read|is too large"):
            decoded(bytes(content), kind)


def test_what_only_opencv_knows_is_held_to_the_limit_too():
    """In a process of its own, which loads OpenCV as a command does; it would take 2.7 GB."""
    script = """
from adainf.media.pictures import decoded
decoded(b"#?RADIANCE\\nFORMAT=32-bit_rle_rgbe\\n\\n-Y 15000 +X 15000\\n" + bytes(1000), "it")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr.splitlines()[-1].endswith("image it: cannot be decoded (it is too large)")


@hypothesis_settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_damage_is_decoded_or_refused_and_nothing_else(kind, data):
    content = bytearray(still(kind, 6 if kind not in ("gif", "bmp") else 1))
    places = st.one_of(st.integers(0, 120), st.integers(0, len(content) - 1))
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        content[at] = value
    content = content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    with contextlib.suppress(UndecodableError):
        picture = decoded(bytes(content), "it")
        assert picture.ndim == 3
        assert picture.dtype == np.uint8


ODD_NAMES = [b"caf\xe9.png", b"two\nlines.png", b"a" * 251 + b".png", b"\xf0\x9f\x98\x80.png", b" .png"]


def test_the_name_of_a_file_is_no_obstacle_and_stays_on_one_line(tmp_path):
    for name in ODD_NAMES:
        file = tmp_path / os.fsdecode(name)
        file.write_bytes(still("png"))
        assert alike(decode(file), corners())
        file.write_bytes(b"no picture")
        with pytest.raises(UndecodableError) as refused:
            decode(file)
        said = str(refused.value)
        assert said.isprintable()
        assert len(said) < 150
        assert said.encode()


@given(st.binary(min_size=1, max_size=255))
def test_any_name_can_be_said(name):
    said = printable(os.fsdecode(name), 100)
    assert said.encode().decode().isprintable()
    assert len(said) <= 100


def test_what_kills_its_decoder_is_found_and_the_rest_is_checked(tmp_path, monkeypatch):
    """The helper's decoder is made to die of one file, as one that runs out of memory does."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, pathlib\n"
        "read = pathlib.Path.open\n"
        "def deadly(path, *more, **named):\n"
        "    if path.name == 'deadly.png':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(path, *more, **named)\n"
        "pathlib.Path.open = deadly\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    names = ["1.png", "deadly.png", "broken.png", "nosuch.png", os.fsdecode(b"\xff\n.png"), "6.png"]
    for name in names:
        if name != "nosuch.png":
            (tmp_path / name).write_bytes(b"broken" if name == "broken.png" else still("png"))
    found = checking.undecodable([tmp_path / name for name in names])
    assert found == {
        1: "a process that decoded it ended",
        2: "cannot be decoded",
        3: "cannot be read (No such file or directory)",
    }


def test_grey_and_transparent_pictures_have_three_channels(tmp_path):
    for number, shape in enumerate([(20, 30), (20, 30, 4)]):
        file = tmp_path / f"{number}.png"
        cv2.imwrite(str(file), np.full(shape, 120, np.uint8))
        assert decode(file).shape == (20, 30, 3)


def jpeg_of(width, height, **told):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG", **told)
    return file.getvalue()


def test_a_jpeg_above_the_limit_is_decoded_smaller_and_all_else_refused():
    assert decoded(jpeg_of(400, 300), "it", most_pixels=120_000).shape == (300, 400, 3)
    assert decoded(jpeg_of(400, 300), "it", most_pixels=119_999).shape == (150, 200, 3)
    for content in (
        jpeg_of(401, 300, progressive=True),
        jpeg_of(4000, 3000),  # too large at an eighth of its sides too
        cv2.imencode(".png", np.zeros((300, 401, 3), np.uint8))[1].tobytes(),
    ):
        with pytest.raises(UndecodableError, match=r"pixels; at most 0\.12 megapixels are read"):
            decoded(content, "it", most_pixels=120_000)


@hypothesis_settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700), most=st.integers(10_000, 500_000), data=st.data())
def test_no_picture_comes_larger_than_the_limit(width, height, most, data):
    told = data.draw(st.fixed_dictionaries({"progressive": st.booleans(), "subsampling": st.sampled_from([0, 1, 2])}))
    with contextlib.suppress(UndecodableError):
        height, width = decoded(jpeg_of(width, height, **told), "it", most_pixels=most).shape[:2]
        assert height * width <= most


@hypothesis_settings(max_examples=200, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4)), max_size=4))
def test_what_is_told_of_a_damaged_jpeg_is_what_is_decoded(edits):
    content = bytearray(jpeg_of(40, 30))
    for at, put in edits:
        content[at : at + len(put)] = put
    with contextlib.suppress(UndecodableError):
        picture = decoded(bytes(content), "it", most_pixels=5000)
        told = jpeg.frame(bytes(content))
        assert told is None or {told.width, told.height} == set(picture.shape[:2])
