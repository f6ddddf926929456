"""The one decoder: how a file becomes pixels, for evaluation, pretraining, readers and masks alike.

What is read, and how:

- **Formats**: JPEG, PNG, BMP, WEBP, TIFF, PPM (with PGM and PBM) and GIF, told by the file's content and not by its name.
  Of a file with several frames or pages the first is read. No other format is tried, and no other program is started.
- **Files**: regular files (or links to them) of at most 1 GiB and 178 million pixels. Pipes, devices, folders and links
  that lead nowhere are not readable.
- **Colour**: grey is repeated over three channels; palettes, CMYK, YCbCr and LAB are converted by Pillow.
- **Transparency** (an alpha channel, or a colour or palette entry that is transparent) is composited on white.
- **Orientation**: what EXIF says of it is applied, to images and masks.
- **Depth**: of 16 bits a channel the upper 8 are kept (value >> 8). Whole numbers of 32 bits, signed numbers and floats are
  refused, unless the task says which values are black and white (``value_range``); then values in between are linear and
  others clipped, for 16 bits too, and NaN is black.

Whatever breaks this is a DataError that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

from virb.errors import DataError
from virb.images import jpeg
from virb.system import files

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".gif"),
)
MAX_BYTES = 1 << 30
MAX_PIXELS = 178_956_970  # Pillow's own bound against decompression bombs
VERSION = 2  # of the numbers that come out for one file: raise it when they change
ORIENTATION = 0x0112  # EXIF's tag
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", *WITH_ALPHA)

Range = tuple[float, float]


def read_image(path: str | os.PathLike[str], *, value_range: Range | None = None) -> np.ndarray:
    """Return an image as uint8 (H, W, 3) in sRGB, by the policy above.

    Args:
        value_range: the values that are black and white in files of more than 8 bits.

    Raises:
        DataError: the file cannot be read, or is none that the policy allows.
    """
    with opened(path) as image:
        return to_rgb(image, value_range=value_range)


def read_values(path: str | os.PathLike[str], mode: str | None = None) -> np.ndarray:
    """Return the values of a mask or map as they are stored, turned as EXIF says; or converted to Pillow's ``mode``.

    Raises:
        DataError: the file cannot be read.
    """
    with opened(path) as image:
        image.load()
        return turned(np.asarray(image.convert(mode) if mode else image), _orientation(image))


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return the height and width that :func:`read_image` gives, from the file's header.

    Raises:
        DataError: the file cannot be read.
    """
    with opened(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow turns these by itself, and says the size that they have then
            return height, width
        if image.format == "PNG" and "exif" not in image.info and not _has_late_exif(path):
            return height, width
        return (width, height) if _orientation(image) >= 5 else (height, width)


def read_bytes(path: str | os.PathLike[str], *, limit: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes.

    Raises:
        DataError: it is none, is larger, or cannot be read.
    """
    try:
        with _regular(path, limit) as file:
            return file.read()
    except (OSError, DataError) as error:
        raise DataError(f"{shown(path)} cannot be read ({_reason(error)}).") from error


def to_rgb(image: Image.Image, *, value_range: Range | None = None) -> np.ndarray:
    """Return an image of Pillow's as uint8 (H, W, 3), by the policy above; errors as for :func:`read_image`."""
    plain = jpeg.pixels(image)
    if plain is not None:
        return turned(plain, _orientation(image))
    image.load()
    mode = image.mode
    is_16_bit = mode in SIXTEEN_BITS or (mode == "I" and image.format in ("PNG", "PPM"))
    if mode in ("I", "F") or is_16_bit:
        values = np.asarray(image)
        if value_range is not None:
            low, high = value_range
            scaled = np.nan_to_num((values.astype(np.float64) - low) * (255 / (high - low)), nan=0.0)
            grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        elif is_16_bit:
            grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        else:
            kind = "32-bit floats" if mode == "F" else "whole numbers of 32 bits, or signed ones"
            raise DataError(
                f"it holds {kind} (mode {mode}), and nothing says which of them are black and white; expected 8 or 16 "
                "bits a channel. Convert it, or let the task give value_range=(black, white)"
            )
        pixels = np.repeat(grey[..., None], 3, axis=2)
    elif mode not in PLAIN:
        raise DataError(f"its pixels are of mode {mode}, which is not read; expected grey or colour of 8 or 16 bits")
    elif mode in WITH_ALPHA or "transparency" in image.info:
        four = np.asarray((image.convert("LA") if mode == "La" else image).convert("RGBA"))
        alpha = four[..., 3:].astype(np.uint16)
        pixels = ((four[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        pixels = np.asarray(image if mode == "RGB" else image.convert("RGB"), dtype=np.uint8)
    return turned(pixels, _orientation(image))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return ``pixels`` (H, W, ...) upright, where EXIF's ``orientation`` (1 to 8) says how they lie."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Yield the first frame of an image file as Pillow opened it, not decoded yet.

    Raises:
        DataError: it cannot be read, now or in the block; the text names the file.
    """
    from PIL import Image

    try:
        with _regular(path, MAX_BYTES) as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"it has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read")
            yield image
    except Exception as error:  # decoders raise many kinds of errors on damaged files
        known = isinstance(error, OSError | SyntaxError | ValueError | Image.DecompressionBombError | DataError)
        reason = _reason(error) if known else f"{type(error).__name__}: {error}"
        raise DataError(f"{shown(path)} is not a readable image ({reason}).") from error


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be printed and stored; bytes of its name that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}, or damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".")


@contextmanager
def _regular(path: str | os.PathLike[str], limit: int) -> Iterator[IO[bytes]]:
    """Yield a regular file that is open for reading. Opening waits for nobody, whatever the path leads to."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(files.open_regular(path, most=limit))
        except files.NotRegular as error:
            raise DataError("it is no regular file but a pipe, a device or a folder") from error
        except files.TooLarge as error:
            raise DataError(f"it has {error.size:,} bytes; at most {limit:,} are read") from error
        yield file


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none, or nothing that can be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF is written by all kinds of programs; a damaged one says nothing
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _has_late_exif(path: str | os.PathLike[str]) -> bool:
    """Whether a PNG has an EXIF chunk behind its pixels, where its header alone does not show it."""
    with open(path, "rb") as file:
        place = 8
        while True:
            file.seek(place)
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                return False
            if head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):  # text may hold EXIF, or XMP with an orientation
                return True
            place += 12 + int.from_bytes(head[:4], "big")
