"""Images as a terminal shows them: what is told of them, how they are made small, and that no bytes do harm."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from winslow_tui.shown import picture
from winslow_tui.shown.picture import MOST_BYTES, Picture, Seen, format_of

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def made(image: Image.Image, format_: str = "PNG", **how: object) -> bytes:
    """An image as a file."""
    into = io.BytesIO()
    image.save(into, format_, **how)
    return into.getvalue()


def quarters(width: int = 60, height: int = 40) -> Image.Image:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", (width, height), "white")
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def look(data: bytes) -> Seen:
    return picture.look(data, size=len(data))


def point(shown: Picture, x: int, y: int) -> tuple[int, ...]:
    at = 4 * (y * shown.width + x)
    return tuple(shown.points[at : at + 4])


def header(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is so large, and nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    points = struct.pack(">I", 1 << 20) + b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + points


# -- what is shown


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_told_and_drawn(format_: str) -> None:
    data = made(quarters(), format_)
    seen = look(data)
    assert format_of(data) == format_
    assert (seen.format, seen.width, seen.height, seen.why) == (format_, 60, 40, "")
    assert dict(seen.facts())["image"] == f"{format_}, 60 × 40 pixels"
    assert seen.picture is not None
    for x, y, colour in ((10, 10, RED), (50, 10, GREEN), (10, 30, BLUE)):
        found = point(seen.picture, x, y)
        assert all(abs(one - other) < 12 for one, other in zip(found, (*colour, 255), strict=True)), (x, y)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"]
)
def test_every_kind_of_colour_is_told_and_drawn_or_has_a_reason(mode: str) -> None:
    seen = look(made(Image.new(mode, (8, 8)), "TIFF"))
    assert seen.colours and bool(seen.picture) is not bool(seen.why)


def test_numbers_are_greys_from_the_smallest_to_the_largest() -> None:
    for mode, format_ in (("I;16", "PNG"), ("F", "TIFF")):
        image = Image.new(mode, (3, 1))
        for x, value in enumerate((1000, 1500, 2000)):
            image.putpixel((x, 0), value)
        seen = look(made(image, format_))
        assert seen.picture is not None
        assert [point(seen.picture, x, 0)[0] for x in range(3)] == [0, pytest.approx(127, abs=1), 255]


def test_what_is_no_number_is_said() -> None:
    image = Image.new("F", (2, 1))
    image.putpixel((0, 0), float("nan"))
    image.putpixel((1, 0), float("inf"))
    assert "no numbers" in look(made(image, "TIFF")).why


def test_a_photograph_stands_as_the_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    seen = look(made(quarters(), "JPEG", exif=exif))
    assert (seen.width, seen.height) == (60, 40)
    assert seen.picture is not None and (seen.picture.width, seen.picture.height) == (40, 60)


def test_a_large_one_is_kept_small() -> None:
    for format_ in ("PNG", "JPEG"):
        seen = look(made(quarters(3000, 1500), format_))
        assert (seen.width, seen.height) == (3000, 1500)
        assert seen.picture is not None and (seen.picture.width, seen.picture.height) == (480, 240)


@pytest.mark.parametrize(
    ("size", "room", "fitted"),
    [
        ((480, 240), (80, 24), (80, 40)),  # as wide as there is room for: 20 rows
        ((240, 480), (80, 24), (24, 48)),  # as high
        ((10, 6), (80, 24), (10, 6)),  # never larger than it is
        ((480, 1), (40, 10), (40, 1)),
        ((1, 480), (40, 10), (1, 20)),
    ],
)
def test_it_keeps_its_shape_where_a_cell_is_two_points(
    size: tuple[int, int], room: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert Picture(*size, points=bytes(4 * size[0] * size[1])).fitted(*room) == fitted


def test_what_is_transparent_shows_the_ground() -> None:
    seen = look(made(Image.new("RGBA", (4, 4), (*RED, 0))))
    assert seen.picture is not None
    assert seen.picture.scaled(2, 2, BLUE) == bytes(BLUE) * 4


# -- what does no harm


@pytest.mark.parametrize(
    "data", [b"", b"text", b"BMW 320;1998\n", b"\0" * 64, b"%PDF-1.7", b"RIFF\0\0\0\0WAVE"]
)
def test_what_is_no_image_is_none(data: bytes) -> None:
    assert format_of(data) == ""


HUGE = ((100_000, 100_000), (4001, 2500), (2**31 - 1, 2**31 - 1), (1, 10_000_001))


@pytest.mark.parametrize(("width", "height"), HUGE)
def test_an_image_that_says_it_is_huge_is_told_but_not_unpacked(width: int, height: int) -> None:
    seen = look(header(width, height))
    assert (seen.width, seen.height, seen.picture) == (width, height, None)
    assert "more than 10 million pixels" in seen.why


def test_a_jpeg_is_unpacked_where_its_reader_makes_it_small_at_once() -> None:
    large = Image.new("L", (4100, 2500), 99)
    assert look(made(large, "JPEG")).picture is not None
    assert "more than 10 million" in look(made(large, "JPEG", progressive=True)).why


def test_a_long_jpeg_is_unpacked_as_small_as_a_square_one() -> None:
    seen = look(made(Image.new("RGB", (60_000, 400), RED), "JPEG"))
    assert (seen.width, seen.height) == (60_000, 400)
    assert seen.picture is not None and (seen.picture.width, seen.picture.height) == (480, 3)
    assert point(seen.picture, 200, 1)[0] > 240


def test_a_text_that_unpacks_to_a_lot_is_not_unpacked() -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("note", "x" * (80 << 20), zip=True)
    seen = look(made(quarters(), pnginfo=told))
    assert seen.picture is None and "cannot be read" in seen.why


def test_a_file_that_is_too_long_is_told_by_its_beginning() -> None:
    data = made(quarters())
    seen = picture.look(data, size=MOST_BYTES + 1)
    assert (seen.width, seen.picture) == (60, None)
    assert "longer than 32" in seen.why
    assert "longer than 32" in picture.look(data[:20], size=MOST_BYTES + 1).why


def test_of_a_beginning_there_is_more() -> None:
    data = made(Image.effect_noise((200, 200), 80))
    seen = picture.look(data[:1000], size=len(data))
    assert (seen.width, seen.picture, seen.why) == (200, None, "")


@pytest.mark.parametrize("format_", FORMATS)
def test_one_that_was_cut_has_a_reason(format_: str) -> None:
    data = made(Image.effect_noise((64, 64), 90).convert("RGB"), format_)
    for keep in (20, len(data) // 3, len(data) - 40):
        seen = look(data[:keep])
        assert seen.picture is None and "cannot be read" in seen.why, keep


@settings(max_examples=300, deadline=None)
@given(
    format_=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(16, 600), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 600),
)
def test_whatever_stands_there_it_is_a_picture_or_a_reason(
    format_: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(made(quarters(12, 8), format_))
    for at, value in changes:
        data[at % len(data)] = value
    whole = bytes(data)[: max(16, len(data) - cut)]
    if format_of(whole):
        seen = look(whole)
        assert (seen.picture is None) == bool(seen.why)
        assert "\n" not in seen.why and len(seen.why) < 240
