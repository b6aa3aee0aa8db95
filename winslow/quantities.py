"""Sizes and durations as people write them in a file (`8GiB`, `15m`), and back to that text. Exact both ways."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator

MAX_SIZE = 2**60
MAX_SECONDS = 10_000 * 86400.0
MAX_GRACE = 86400.0


class Unit(StrEnum):
    """Stands in a field's annotation: what its number means, and so how it is written."""

    BYTES = "bytes"
    SECONDS = "seconds"


_SIZE = re.compile(r"([0-9]{1,300}(?:\.[0-9]{1,400})?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,300}(?:\.[0-9]{1,400})?)\s*(s|m|h|d)")
_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
        "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    }
)  # fmt: skip
_FACTORS = {"": 1} | {
    form: size for unit, size in _BYTES.items() for form in (unit.upper(), unit.upper()[:-1])
}
_SECONDS: Mapping[str, int] = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400})


def parse_size(value: object) -> int:
    """Bytes from `8GiB` or `500 MB`; an int is bytes already. Raises ValueError naming the units.

    A text without a unit is refused (but for 0): `memory: 16` in a file means gigabytes to its writer.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    else:
        text = value.strip() if isinstance(value, str) else ""
        match = _SIZE.fullmatch(text)
        if match is None or (not match[2] and Fraction(match[1])):
            raise ValueError(
                "not a size: write a number with KiB, MiB, GiB or TiB (or KB, MB, GB, TB), for example 8GiB"
                + _nearest_unit(text, tuple(_BYTES))
            )
        size = int(Fraction(match[1]) * _FACTORS[(match[2] or "").upper()])
    if size > MAX_SIZE:
        raise ValueError("there is no machine of this size")
    return size


def parse_duration(value: object) -> float:
    """Seconds from `90s`, `15m`, `2h` or `3d`; a number is seconds already. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SECONDS:
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            "not a duration: write a number with s, m, h or d, for example 15m"
            + _nearest_unit(text, tuple(_SECONDS), {"sec": "s", "min": "m", "hour": "h", "day": "d"})
        )
    return float(Fraction(match[1]) * _SECONDS[match[2]])


def size_text(size: int) -> str:
    """The shortest text that `parse_size` reads as `size` bytes, binary units before decimal ones: `8GiB`."""
    fitting = [f"{size // factor}{unit}" for unit, factor in _BYTES.items() if size % factor == 0]
    return min(fitting, key=len) if size else "0"


def duration_text(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`: `2h`, `90m`, `0.5s`."""
    exact = Fraction(seconds)
    fitting = [f"{exact // factor}{unit}" for unit, factor in _SECONDS.items() if exact % factor == 0]
    return min(fitting, key=len) if exact and fitting else f"{Decimal(number_text(seconds)):f}s"


def number_text(number: float) -> str:
    """A number as a person writes it: `4`, `0.5`."""
    whole = abs(number) < 10**15 and number == int(number)
    return str(int(number)) if whole else repr(number)


def _nearest_unit(text: str, units: tuple[str, ...], words: Mapping[str, str] = MappingProxyType({})) -> str:
    """A suggestion to append, when `text` is a number with a wrong unit; else nothing."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
    if match is None:
        return ""
    number, given = match.groups()
    for word, unit in words.items():
        if given.lower().startswith(word):
            return f"; did you mean {number}{unit}?"
    folded = {unit.lower(): unit for unit in units}
    close = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.5)
    return f"; did you mean {number}{folded[close[0]]}?" if close else ""


def _above_zero(value: object) -> float | None:
    if value is None:
        return None
    seconds = parse_duration(value)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("must be more than 0s and at most 10000d")
    return seconds


def _silence(value: object) -> object:
    return value if value == "never" else _above_zero(value)


def _grace(value: object) -> float:
    seconds = parse_duration(value)
    if not 0 <= seconds <= MAX_GRACE:
        raise ValueError("must be at most 1d")
    return seconds


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str), Unit.BYTES]
Duration = Annotated[
    float | None, BeforeValidator(_above_zero, json_schema_input_type=str | float | None), Unit.SECONDS
]
Grace = Annotated[float, BeforeValidator(_grace, json_schema_input_type=str | float), Unit.SECONDS]
LostAfter = Annotated[
    float | Literal["never"] | None,
    BeforeValidator(_silence, json_schema_input_type=str | float | None),
    Unit.SECONDS,
]
