"""The second decoder of JPEG files gives Pillow's pixels and leaves to Pillow what is not its own."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch  # noqa: F401  # without which Pillow decodes everything
from PIL import Image

from virb.images import decode, jpeg

SAMPLES = jpeg.samples()
PIXELS = np.random.default_rng(3).integers(0, 255, (33, 40, 3)).astype(np.uint8)


def encoded(pixels: np.ndarray = PIXELS, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(content: bytes) -> np.ndarray | str:
    try:
        with Image.open(io.BytesIO(content), formats=decode.FORMATS) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def by_virb(content: bytes) -> np.ndarray | str:
    try:
        with Image.open(io.BytesIO(content), formats=decode.FORMATS) as image:
            return decode.to_rgb(image)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def fast(content: bytes) -> np.ndarray | None:
    with Image.open(io.BytesIO(content)) as image:
        return jpeg.pixels(image)


def test_plain_files_are_decoded_to_pillows_pixels() -> None:
    assert jpeg.agrees()  # with the tested versions: elsewhere Pillow decodes everything
    for content in SAMPLES.values():
        found = fast(content)
        assert found is not None
        assert np.array_equal(found, by_pillow(content))
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "content",
    [
        encoded(progressive=True),
        encoded(mode="L"),
        encoded(mode="CMYK"),
        encoded(quality=80, keep_rgb=True),
    ],
    ids=["progressive", "grey", "cmyk", "rgb"],
)
def test_other_kinds_are_pillows(content: bytes) -> None:
    assert fast(content) is None
    assert np.array_equal(by_virb(content), by_pillow(content))


@pytest.mark.parametrize(("transform", "is_ours"), [(1, True), (0, False)])
def test_what_adobes_programs_say_of_colours_is_heeded(transform: int, is_ours: bool) -> None:
    plain = encoded(subsampling=0)
    length = int.from_bytes(plain[4:6], "big")  # of JFIF's segment, which Adobe's takes the place of
    content = plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + plain[4 + length :]
    assert (fast(content) is not None) == is_ours
    assert np.array_equal(by_virb(content), by_pillow(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_them(orientation: int) -> None:
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    content = encoded(exif=exif)
    assert fast(content) is not None
    expected = decode.turned(by_pillow(content), orientation)  # type: ignore[arg-type]
    assert np.array_equal(by_virb(content), expected)


def test_an_image_that_was_drafted_or_loaded_is_pillows() -> None:
    with Image.open(io.BytesIO(encoded())) as image:
        image.draft("RGB", (10, 10))
        assert jpeg.pixels(image) is None
    with Image.open(io.BytesIO(encoded())) as image:
        image.load()
        assert jpeg.pixels(image) is None


def test_damaged_files_give_pillows_pixels_or_pillows_error(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    contents = list(SAMPLES.values())
    n_errors = 0
    for k in range(300):
        damaged = bytearray(contents[k % len(contents)])
        if k % 3 == 0:
            damaged = damaged[: rng.integers(200, len(damaged))]
        for _ in range(k % 3):
            damaged[rng.integers(0, len(damaged))] = rng.integers(0, 256)
        expected, found = by_pillow(bytes(damaged)), by_virb(bytes(damaged))
        if isinstance(expected, str):
            n_errors += 1
            assert found == expected
        else:
            assert np.array_equal(found, expected)
    assert 50 < n_errors < 250
    capfd.readouterr()  # libjpeg's own remarks


def test_where_the_decoders_differ_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = jpeg._decoded
    monkeypatch.setattr(jpeg, "_decoded", lambda content: right(content) ^ 1)  # type: ignore[operator]
    jpeg.agrees.cache_clear()
    try:
        assert not jpeg.agrees()
        assert fast(encoded()) is None
        assert np.array_equal(by_virb(encoded()), by_pillow(encoded()))
    finally:
        monkeypatch.undo()
        jpeg.agrees.cache_clear()
