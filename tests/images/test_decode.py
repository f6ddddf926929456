"""The one decoder: which files become pixels, and which pixels."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from virb.errors import DataError
from virb.images import decode
from virb.images.decode import read_image, read_size, read_values, shown
from virb.images.sets import FileImages

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff", "ppm"])
def test_colour_is_read_as_it_was_written(tmp_path, suffix):
    path = saved(tmp_path / f"x.{suffix}", COLOUR, **({"lossless": True} if suffix == "webp" else {}))
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, COLOUR)
    assert read_size(path) == (6, 9)


def test_ordinary_files_decode_as_pillow_does(tmp_path):
    path = saved(tmp_path / "x.jpg", COLOUR, quality=90)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cmyk.jpg")
    np.testing.assert_array_equal(
        read_image(tmp_path / "cmyk.jpg"), np.asarray(Image.open(tmp_path / "cmyk.jpg").convert("RGB"))
    )
    Image.fromarray(COLOUR).convert("P").save(tmp_path / "p.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "p.png"), np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    )


@pytest.mark.parametrize("suffix", ["png", "pgm", "tiff", "bmp", "jpg"])
def test_grey_is_repeated(tmp_path, suffix):
    found = read_image(saved(tmp_path / f"x.{suffix}", np.full((4, 5), 77, np.uint8)))
    np.testing.assert_array_equal(found, np.full((4, 5, 3), 77))


def test_what_a_file_is_called_does_not_matter(tmp_path):
    saved(tmp_path / "x.png", COLOUR).rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), COLOUR)


# ------------------------------------------------------------------------------------------------------------ depth


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix):
    values = np.array([[0, 255, 256], [511, 32768, 65535]], np.uint16)
    found = read_image(saved(tmp_path / f"x.{suffix}", values))
    np.testing.assert_array_equal(found[..., 1], values >> 8)


def test_16_bit_colour_keeps_its_upper_8(tmp_path):
    values = RNG.integers(0, 65536, (3, 4, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), values >> 8)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((3, 3), 0.5, np.float32), "32-bit floats .mode F"),
        (np.full((3, 3), 70_000, np.int32), "32 bits, or signed"),
    ],
)
def test_values_that_say_nothing_of_black_and_white_are_refused(tmp_path, values, said):
    path = saved(tmp_path / "x.tiff", values)
    with pytest.raises(DataError, match=rf"x\.tiff is not a readable image .*{said}.*value_range"):
        read_image(path)
    np.testing.assert_array_equal(read_values(path), values)  # a map of depth may be so


def test_a_range_says_what_is_black_and_white(tmp_path):
    values = np.array([[-1, 0, 0.25], [0.5, 1, 7], [np.nan, np.inf, -np.inf]], np.float32)
    path = saved(tmp_path / "x.tiff", values)
    found = read_image(path, value_range=(0, 1))[..., 0]
    np.testing.assert_array_equal(found, [[0, 0, 64], [128, 255, 255], [0, 255, 0]])
    depth = saved(tmp_path / "d.png", np.array([[0, 4000]], np.uint16))
    np.testing.assert_array_equal(read_image(depth, value_range=(0, 4000))[..., 0], [[0, 255]])
    images = FileImages("f", tmp_path, ["x.tiff"], value_range=(0, 1))
    assert images.digest != FileImages("f", tmp_path, ["x.tiff"], value_range=(0, 2)).digest
    assert images.digest != FileImages("f", tmp_path, ["x.tiff"]).digest
    with pytest.raises(DataError, match="black below white"):
        FileImages("f", tmp_path, ["x.tiff"], value_range=(1, 1))


# ----------------------------------------------------------------------------------------------------- transparency


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["RGBA", "LA"]))
def test_transparency_is_composited_on_white(seed, mode):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (4, 5, 4 if mode == "RGBA" else 2), dtype=np.uint8)
    pixels[0, 0, -1], pixels[0, 1, -1] = 0, 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    found = decode.to_rgb(Image.open(file))
    colour = pixels[..., :-1].astype(float)
    weight = pixels[..., -1:] / 255.0
    expected = np.broadcast_to(colour * weight + 255 * (1 - weight), (4, 5, 3))
    assert np.abs(found - expected).max() <= 0.5 + 1e-9
    assert (found[0, 0] == 255).all()
    np.testing.assert_array_equal(found[0, 1], np.broadcast_to(pixels[0, 1, :-1], 3))


@pytest.mark.parametrize("kind", ["palette", "gif", "colour", "grey"])
def test_a_transparent_entry_or_colour_is_white(tmp_path, kind):
    image = {
        "palette": Image.fromarray(np.array([[0, 1]], np.uint8), "P"),
        "gif": Image.fromarray(np.array([[0, 1]], np.uint8), "P"),
        "colour": Image.fromarray(np.array([[[9, 9, 9], [10, 20, 30]]], np.uint8)),
        "grey": Image.fromarray(np.array([[9, 10]], np.uint8)),
    }[kind]
    if kind in ("palette", "gif"):
        image.putpalette([9, 9, 9, 10, 20, 30])
    path = tmp_path / ("x.gif" if kind == "gif" else "x.png")
    image.save(path, transparency={"colour": (9, 9, 9), "grey": 9}.get(kind, 0))
    found = read_image(path)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == ([10] * 3 if kind == "grey" else [10, 20, 30])


# ------------------------------------------------------------------------------------------------------ orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_exif_orientation_is_applied_to_images_masks_and_sizes(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    path = saved(tmp_path / f"x.{suffix}", COLOUR, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path).copy() if suffix == "tiff" else Image.open(path)))
    if suffix == "png":
        np.testing.assert_array_equal(expected, decode.turned(COLOUR, orientation))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_values(path), expected)
    assert read_size(path) == expected.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_images_turn_too(tmp_path, orientation):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    path = saved(tmp_path / "x.png", GREY.astype(np.uint16) << 8, exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], decode.turned(GREY, orientation))


def test_exif_behind_the_pixels_of_a_png_counts_in_its_size_too(tmp_path):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = 6
    path = saved(tmp_path / "x.png", COLOUR, exif=exif)
    content = path.read_bytes()
    at = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[at : at + 4], "big")
    chunk, rest = content[at : at + length], content[:at] + content[at + length :]
    end = rest.index(b"IEND") - 4
    path.write_bytes(rest[:end] + chunk + rest[end:])
    assert read_image(path).shape == (9, 6, 3)
    assert read_size(path) == (9, 6)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_is_none_changes_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = value
    np.testing.assert_array_equal(read_image(saved(tmp_path / "x.png", COLOUR, exif=exif)), COLOUR)


# ----------------------------------------------------------------------------------------------- what is not read


def test_of_several_frames_the_first_is_read(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 128, 250)]
    for suffix in ("gif", "tiff", "webp", "png"):
        path = tmp_path / f"x.{suffix}"
        frames[0].save(
            path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {})
        )
        assert (read_image(path) == 10).all(), suffix


def test_a_document_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "x.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match=r"x\.png is not a readable image .*none of JPEG, PNG"):
        read_image(path)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("read", [read_image, read_values, read_size, decode.read_bytes])
@pytest.mark.parametrize("kind", ["absent", "dangling", "folder", "pipe", "device", "unreadable"])
def test_only_regular_files_are_read_and_nobody_waits(tmp_path, read, kind):
    path = tmp_path / "x.png"
    if kind == "dangling":
        path.symlink_to(tmp_path / "gone.png")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "unreadable":
        saved(path, COLOUR)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    with pytest.raises(DataError, match=r"x\.png"):
        read(path)


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = saved(tmp_path / "x.png", COLOUR)
    monkeypatch.setattr(decode, "MAX_PIXELS", 53)
    with pytest.raises(DataError, match="9 x 6 pixels"):
        read_image(path)
    monkeypatch.setattr(decode, "MAX_PIXELS", 54)
    read_image(path)
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="at most 10 are read"):
        read_image(path)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"]))
def test_a_damaged_file_is_an_image_or_one_sentence(tmp_path_factory, data, kind):
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (read_image, read_size, read_values):
        said = ""
        try:
            read(path)
        except DataError as error:
            said = str(error)
        assert not said or "damaged is not a readable image" in said


def test_names_that_are_not_utf8_can_be_shown(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        saved(tmp_path / name, COLOUR)
    except OSError:
        pytest.skip("this file system has no such names")
    np.testing.assert_array_equal(read_image(tmp_path / name), COLOUR)
    assert shown(name) == "caf\\xe9.png"
    assert FileImages("f", tmp_path, [name]).describe(0).endswith("caf\\xe9.png")
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / f"no-{name}")
    assert str(caught.value).isascii()
