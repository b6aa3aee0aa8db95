"""Making text from outside harmless for a terminal (invariant I11).

What a container prints, what a file is called and what a message holds may carry sequences that set a
clipboard or a title, hide text or turn its direction around. Every such text goes through `line` or
`block` once, at the edge, before it reaches a terminal. Colours that Winslow shows are its own.
"""

from __future__ import annotations

import re

# Whole sequences first, so that their parameters do not stay behind as text: OSC, DCS, SOS, PM and APC up to
# their terminator, then CSI, then two-character escapes; each also in its one-character (C1) form.
_SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]+[0-~]"
    r"|\x1b[0-Z\\-~]"
)
# C0 (but tab and newline), DEL, C1, bidirectional controls, line and paragraph separators, deprecated and
# invisible format characters, interlinear annotations, tags; the zero width joiner, since what it joins is as wide as
# one sign for those who measure text, and as wide as all of them on most terminals.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200d-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def block(text: str) -> str:
    """Text of several lines: newlines and tabs stay, everything else that could act on a terminal goes.

    Half surrogate pairs, which no terminal can be sent, become U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", _SEQUENCES.sub("", text)))


def line(text: str) -> str:
    """Text for one line: as `block`, with newlines and tabs as spaces."""
    return block(text).replace("\n", " ").replace("\t", " ")


def log_line(data: bytes) -> str:
    """One line of a log as a screen shows it: invalid UTF-8 becomes U+FFFD, and of a line that overwrote
    itself (progress bars with carriage returns) the last version stays."""
    text = data.decode("utf-8", "replace")
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    return block(text).replace("\n", " ")
