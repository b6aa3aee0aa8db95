"""An image as what a terminal can show of it: its facts, and a small copy that is drawn in cells.

Whoever ran a stage chose the bytes, so nothing of them is trusted: only formats that are known by their first bytes
are opened, each by its own reader; how many points there are is read from the header before any is unpacked; and
whatever a reader stumbles over is a sentence. Everything here works on bytes that were read already, takes time, and
belongs into a thread.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winslow.placement import size_text

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_BYTES = 32 << 20
"""Longer files are not read whole for a look."""
MOST_POINTS = 10_000_000
"""Of an image that has to be unpacked as it is: 40 MB, and with what its reader keeps beside up to 160."""
MOST_POINTS_SCALED = 50_000_000
"""Of a JPEG that its reader unpacks at an eighth of its size; of one in several parts it keeps all of them: 300 MB."""
SIDE = 480
"""Points of a copy's longer side at most: more than a terminal has columns."""

_BEGINNINGS: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_READERS: Mapping[str, str] = {
    "PNG": "PngImagePlugin",
    "JPEG": "JpegImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}
_COLOURS: Mapping[str, str] = {
    "1": "black and white",
    "L": "256 greys",
    "LA": "256 greys and transparency",
    "P": "a palette of up to 256 colours",
    "RGB": "8 bits each of red, green, blue",
    "RGBA": "8 bits each of red, green, blue, transparency",
    "CMYK": "8 bits each of cyan, magenta, yellow, black",
    "YCbCr": "8 bits each of brightness and two of colour",
    "I;16": "65,536 greys",
    "I;16B": "65,536 greys",
    "I": "greys of 32 bits",
    "F": "greys as 32-bit numbers",
}


@dataclass(frozen=True)
class Picture:
    """A copy of an image: four bytes a point (red, green, blue, opacity), row by row."""

    width: int
    height: int
    points: bytes

    def fitted(self, columns: int, rows: int) -> tuple[int, int]:
        """Its width and height in points where there is room for so many cells; a cell holds two points, one above the
        other, and is about twice as high as wide. It is never drawn larger than it is."""
        scale = min(1.0, columns / self.width, 2 * rows / self.height)
        return max(1, int(self.width * scale)), max(1, int(self.height * scale))

    def scaled(self, width: int, height: int, ground: tuple[int, int, int]) -> bytes:
        """Three bytes a point, on a background that is seen through what is transparent."""
        from PIL import Image

        whole = Image.frombytes("RGBA", (self.width, self.height), self.points)
        small = whole.resize((width, height), Image.Resampling.BOX)
        return (
            Image.alpha_composite(Image.new("RGBA", small.size, (*ground, 255)), small)
            .convert("RGB")
            .tobytes()
        )


@dataclass(frozen=True)
class Seen:
    """What is known of an image. `why` says in words why there is no picture; width and height of 0 are unknown."""

    format: str
    width: int = 0
    height: int = 0
    colours: str = ""
    picture: Picture | None = None
    why: str = ""

    def facts(self) -> list[tuple[str, str]]:
        """By name, for people."""
        size = f", {self.width:,} × {self.height:,} pixels" if self.width else ""
        told = [("image", self.format + size), *([("colours", self.colours)] if self.colours else [])]
        return [*told, ("not drawn", self.why)] if self.why else told


def format_of(beginning: bytes) -> str:
    """The format by a file's first 16 bytes; empty for what is none of those that are shown."""
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "WEBP"
    if beginning[:2] == b"BM" and beginning[6:10] == bytes(4):  # as no text begins
        return "BMP"
    return next((name for begin, name in _BEGINNINGS.items() if beginning.startswith(begin)), "")


def look(data: bytes, *, size: int) -> Seen:
    """What the first bytes of an image of `size` bytes say of it; a picture only where all of it is there."""
    format_ = format_of(data)
    try:
        with _opened(data, format_) as image:
            seen = Seen(
                format_,
                image.width,
                image.height,
                _COLOURS.get(image.mode, image.mode),
                why=_too_much(image, size),
            )
            if seen.why or len(data) < size:
                return seen
            try:
                return Seen(format_, seen.width, seen.height, seen.colours, picture=_copy(image))
            except Exception as error:  # see the module: readers raise what they like
                return Seen(format_, seen.width, seen.height, seen.colours, why=_words(error))
    except Exception as error:
        return Seen(format_, why=_words(error) if len(data) >= size else too_long(size))


def too_long(size: int) -> str:
    """Why a file is not read whole; empty where it is."""
    return f"it is longer than {size_text(MOST_BYTES)}" if size > MOST_BYTES else ""


def _opened(data: bytes, format_: str) -> Image:
    from PIL import Image

    importlib.import_module(f"PIL.{_READERS[format_]}")  # else Pillow imports the readers of all formats
    Image.MAX_IMAGE_PIXELS = (
        None  # its own bound warns on stderr, in the middle of the screen; see `_too_much`
    )
    return Image.open(io.BytesIO(data), formats=[format_])


def _too_much(image: Image, size: int) -> str:
    """Why it is not unpacked; empty where it is."""
    scales = image.format == "JPEG" and not image.info.get("progressive")
    most = MOST_POINTS_SCALED if scales else MOST_POINTS
    if image.width * image.height > most:
        return f"it has more than {most // 1_000_000} million pixels"
    return too_long(size)


def _copy(image: Image) -> Picture:
    """Unpack it, as small as its reader can, and make it smaller still."""
    from PIL import Image, ImageOps

    if image.format == "JPEG":
        share = SIDE / max(image.size)
        image.draft("RGB", (max(1, int(share * image.width)), max(1, int(share * image.height))))
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        image = _grey(image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    image = ImageOps.exif_transpose(image)  # the way up that the camera was held
    return Picture(image.width, image.height, image.convert("RGBA").tobytes())


def _grey(image: Image) -> Image:
    """Numbers as greys, the smallest black and the largest white."""
    numbers = image.convert("F")
    low, high = numbers.getextrema()
    assert isinstance(low, float) and isinstance(high, float)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("some of its pixels are no numbers")
    scale = 255 / (high - low) if high > low else 0.0
    return numbers.point(lambda value: value * scale - low * scale).convert("L")


def _words(error: Exception) -> str:
    """What a reader said, as one sentence."""
    told = " ".join(str(error).split())
    return f"it cannot be read: {told[:200] or type(error).__name__}"
