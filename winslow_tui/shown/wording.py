"""How both faces write what people read. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def time_shown(text: str) -> str:
    """An RFC 3339 time as people read it: without fraction, still UTC."""
    return text[:19].replace("T", " ") + "Z" if text else ""


def time_here(text: str) -> str:
    """An RFC 3339 time as it is where the reader sits: `2026-06-12 10:33`; as it came where it is none."""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M")


def lasting(seconds: float) -> str:
    """How long something lasted, as people say it: `8.4 s`, `12 min 5 s`, `3 h 12 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    minutes = whole // 60
    if minutes < 60:
        return _two(minutes, "min", whole % 60, "s")
    hours = minutes // 60
    return _two(hours, "h", minutes % 60, "min") if hours < 24 else _two(hours // 24, "d", hours % 24, "h")


def time_left(seconds: float) -> str:
    """How long something still takes, in at most seven letters: `42s`, `12m05`, `3h12`, `2d04h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 100:
        return f"{minutes}m{whole % 60:02}"
    return f"{hours}h{minutes % 60:02}" if hours < 100 else f"{min(hours // 24, 999)}d{hours % 24:02}h"


CLOCK_OFF = 5
"""Seconds between a node's clock and the store's from which on a person is told to set it."""


def clock_told(skew: int) -> str:
    """A node's clock that is `skew` seconds ahead of the store's, in words."""
    if not skew:
        return "as the store's"
    side = "ahead of" if skew > 0 else "behind"
    return f"{lasting(abs(skew))} {side} the store's" + (": set it (NTP)" if abs(skew) >= CLOCK_OFF else "")


def skew_told(skew: int) -> str:
    """The same in a column: `0s`, `+48s`, `-3h12`."""
    sign = "+" if skew > 0 else "-" if skew else ""
    return sign + time_left(abs(skew))


def _two(large: int, its_unit: str, small: int, other_unit: str) -> str:
    return f"{large} {its_unit}" + (f" {small} {other_unit}" if small else "")


def counted(number: float, thing: str) -> str:
    """`1 file`, `2 files`, `1.5 cores`."""
    shown = f"{number:.3g}" if isinstance(number, float) and number < 1000 else f"{round(number):,}"
    return f"{shown} {thing}{'' if number == 1 else 's'}"
