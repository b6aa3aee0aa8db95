"""Addresses of files, as people and stages write them (design 8).

res:traffic/ulm.mp4      a resource, shared by all projects
PROJECT:input/a.mp4      a project's upload
PROJECT:output/a.png     a project's results: its runs' outputs laid over each other
PROJECT#3:tracks.txt     the workspace of run 3; run 0 is what a person put there for the first stage
PROJECT#next:a.txt       what the next run takes over, which a person may change

A variable's value may also be `secret:NAME`: a value that stands in a file on the node and nowhere else. A stage's
`inputs:` may also say `#STAGE:tracks.txt`: the workspace of an earlier stage's run in the same project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from winslow.errors import InvalidInput
from winslow.pipeline import NAME, SECRET

_SHAPE = re.compile(r"(?P<root>[A-Za-z0-9][A-Za-z0-9._-]*)(?:#(?P<run>\d+|next))?:(?P<path>.*)", re.DOTALL)
FORMS = "res:PATH, PROJECT:input/PATH, PROJECT:output/PATH, PROJECT#RUN:PATH or PROJECT#next:PATH"


@dataclass(frozen=True)
class Address:
    """Where something is; `path` is relative, without `.` or `..`, and empty for the whole place.

    `folder` is True where it was written with a `/` at the end. `run` is set for a workspace only.
    """

    place: Literal["resources", "input", "output", "workspace", "next"]
    path: str
    project: str = ""
    run: int | None = None
    folder: bool = False


def looks_like(text: str) -> bool:
    """Whether an environment value names a file to fetch: `res:…`, or `NAME:input/…` and the like."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return False
    path = match["path"]
    if match["root"] == "secret":
        return False
    if match["root"] == "res":
        return match["run"] is None and bool(path) and not path.startswith("/")
    if NAME.fullmatch(match["root"]) is None:
        return False
    if match["run"] == "next":
        return False  # which files that are is known only to people
    return match["run"] is not None or path.startswith(("input/", "output/"))


def parse(text: str) -> Address:
    """Read an address. Raises InvalidInput naming the forms there are."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise InvalidInput(f"'{text}' is not an address", hint=f"write {FORMS}")
    path = match["path"]
    if match["root"] == "res":
        if match["run"] is not None:
            raise InvalidInput(f"'{text}': resources have no runs", hint=f"write {FORMS}")
        return Address(place="resources", path=_clean(path, text), folder=path.endswith("/") or not path)
    if match["run"] is not None:
        following = match["run"] == "next"
        return Address(
            place="next" if following else "workspace",
            project=match["root"],
            run=None if following else int(match["run"]),
            path=_clean(path, text),
            folder=path.endswith("/") or not path,
        )
    first, _, rest = path.partition("/")
    if first not in ("input", "output"):
        raise InvalidInput(f"'{text}': a project has input/ and output/", hint=f"write {FORMS}")
    place: Literal["input", "output"] = "input" if first == "input" else "output"
    return Address(
        place=place, project=match["root"], path=_clean(rest, text), folder=rest.endswith("/") or not rest
    )


def secret_name(text: str) -> str | None:
    """The name of the secret that an environment value refers to (`secret:NAME`); None for any other value."""
    match = SECRET.fullmatch(text)
    return match[1] if match else None


def of_stage(text: str) -> tuple[str, str] | None:
    """Stage and path of an input `#STAGE:PATH`; None for any other text."""
    if not text.startswith("#"):
        return None
    stage, _, path = text[1:].partition(":")
    return stage, path


def _clean(path: str, text: str) -> str:
    parts = path.rstrip("/").split("/") if path.rstrip("/") else []
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise InvalidInput(
            f"'{text}': a path has no empty part, no '.' and no '..', and does not begin with '/'"
        )
    return "/".join(parts)


def text(where: Address) -> str:
    """The address as a person writes it; the inverse of `parse`."""
    slash = "/" if where.folder and where.path else ""
    if where.place == "resources":
        return f"res:{where.path}{slash}"
    if where.place == "workspace":
        return f"{where.project}#{where.run}:{where.path}{slash}"
    if where.place == "next":
        return f"{where.project}#next:{where.path}{slash}"
    return f"{where.project}:{where.place}/{where.path}{slash}"
