"""How well a text can be read on its ground: the ratio of their luminances (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

from textual.color import Color

READABLE = 4.5
"""The least for text of the usual size."""


def contrast(one: Color, other: Color) -> float:
    """From 1 (the same colour) to 21 (black and white)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
