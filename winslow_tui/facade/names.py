"""What a person types for a project: its id, a unique prefix of one, or a unique name (design 3). Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from winslow.errors import Conflict, InvalidInput, NotFound

MAX_NAME = 200
MAX_TAG = 100
MAX_COMMENT = 4000
_MAX_SLUG = 48


def slug(name: str) -> str:
    """The readable part of a new project's id: small ASCII letters, digits and `-`; never empty."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_MAX_SLUG].strip("-") or "project"


def check_name(name: str) -> str:
    """A project's name, without blanks around it. Raises InvalidInput for what cannot be shown on one line."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"a project's name is 1 to {MAX_NAME} printable characters")
    return name


def check_tag(text: str) -> str:
    """A tag's or a person's name, without blanks around it. Raises InvalidInput."""
    text = text.strip()
    if not text or len(text) > MAX_TAG or not text.isprintable():
        raise InvalidInput(f"{text[:MAX_TAG]!r}: 1 to {MAX_TAG} printable characters are expected here")
    if text.endswith("-"):
        raise InvalidInput(f"'{text}': a '-' at the end means to remove it", hint="choose another name")
    return text


def check_comment(text: str) -> str:
    """A text about a project or a run. Raises InvalidInput for one that would swell the document."""
    if len(text) > MAX_COMMENT:
        raise InvalidInput(
            f"a comment has at most {MAX_COMMENT} characters, this one {len(text)}",
            hint="put longer texts into a file: winslow files put FILE PROJECT:input/",
        )
    return text


def pick(query: str, names: Mapping[str, str]) -> str:
    """The id of the project meant by `query`; `names` maps each id to its name.

    An exact id wins over a name, a name over a prefix. Raises Conflict with the candidates when several
    fit, NotFound with the nearest names when none does.
    """
    if query in names:
        return query
    named = [id_ for id_, name in names.items() if name == query]
    found = named or [id_ for id_ in names if query and id_.startswith(query)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(sorted(found)[:10]) + (" …" if len(found) > 10 else "")
        raise Conflict(f"'{query}' stands for several projects", hint=f"use one of the ids: {shown}")
    raise NotFound(
        f"there is no project '{query}'",
        hint=nearest(query, [*names, *names.values()], "winslow project list"),
    )


def nearest(query: str, known: Iterable[str], otherwise: str) -> str:
    """A hint with up to three known names like `query`; else the command that lists them all."""
    close = difflib.get_close_matches(query, list(dict.fromkeys(known)), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"{otherwise} shows what there is"
