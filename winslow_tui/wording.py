"""How both faces write what people read. Pure."""

from __future__ import annotations


def time_shown(text: str) -> str:
    """An RFC 3339 time as people read it: without fraction, still UTC."""
    return text[:19].replace("T", " ") + "Z" if text else ""
