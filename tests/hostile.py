"""Texts that would act on a terminal, on the reading of markup or on columns, and the site of `tests.screens` with such
texts wherever its documents and messages let one through."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tests import screens
from winslow import workspace
from winslow.project import Project
from winslow.store import layout
from winslow.store.pipelines import PipelineHead
from winslow.store.port import ObjectStore
from winslow.workspace import Manifest
from winslow_tui.program.transfers import Transfer
from winslow_tui.program.unfinished import Errand

KNOWN = (
    "[red]x[/]", "[/foo]", "[@click=app.quit]quit[/]", "[link=http://x]y[/link]", "$primary", "\\[b]",
    "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x1b\\", "\x1b[31m", "\x1b[2J\x1b[H", "\x1bP1$r\x1b\\", "\x1b", "\x07",
    "\b\b", "\x9b31m", "\x9d0;t\x9c", "\x85", "\x7f", "\r", "\n", "\t", "\u2028", "\u2029",
    "\u202eevil\u202c", "\u2066a\u2069",
    "\u200e", "\u061c", "שלום עולם", "車が走る道路", "e\u0301o\u0308\u0323", "a\u200bb\u200dc", "\ufeff", "\ufe0f",
    "👩\u200d👩\u200d👧 ok",
    "\U000e0041", "\ud800", "\u3000", "ﷺ", "long " * 60, "長い" * 90,
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(KNOWN) | st.text(max_size=6), min_size=1, max_size=6).map("".join)
"""One hostile text. Characters that UTF-8 cannot hold are among them."""

STEERING = {
    "id", "event_id", "claim", "manifests", "manifest", "object", "sha256", "next_stage", "state", "revision",
    "source_revision", "node_uuid", "instance", "updated", "presence", "project", "schema", "type", "path",
}  # fmt: skip
"""What decides where things stand and what is read, rather than what is shown."""

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
M = TypeVar("M", bound=BaseModel)


def acts(character: str) -> bool:
    """Whether a terminal may do something with it but show it."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDI


def acting(output: str) -> list[str]:
    """What of the output of one line would act on a terminal, beyond colours."""
    return [character for character in COLOURS.sub("", output) if acts(character)]


class Texts:
    """Hands out texts, each with a mark of its own: `q7q[b]` shows where the seventh stands, and that nobody took
    what follows for markup."""

    MARK = re.compile(r"q(\d+)q(.{0,3})")

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._number = 0

    def __call__(self) -> str:
        self._number += 1
        return f"q{self._number}q[b]{self._texts[self._number % len(self._texts)]}"

    @classmethod
    def eaten(cls, shown: str) -> list[str]:
        """Marks that something was taken away behind, in a line as it is shown; one that is cut there is not."""
        return [match[0] for match in cls.MARK.finditer(shown) if not _whole_or_cut(match[2])]

    @classmethod
    def seen(cls, shown: str) -> set[str]:
        """The marks in a text."""
        return {match[1] for match in cls.MARK.finditer(shown)}


def _whole_or_cut(after: str) -> bool:
    kept = re.split("[…│▌╭╮╰╯─]", after)[0].rstrip()  # by a column's end, or what lies over it
    return "[b]".startswith(kept) or kept == "[b]"


def bedevilled(model: M, make: Callable[[], str]) -> M:
    """The document or message, which is UTF-8, with another text wherever it still is valid then."""
    data = model.model_dump(mode="json", by_alias=True)
    kind = type(model)
    for place in list(_places(data)):
        before = _get(data, place)
        _set(data, place, make().encode("utf-8", "replace").decode())
        try:
            kind.model_validate(data)
        except ValidationError:
            _set(data, place, before)
    return kind.model_validate(data)


def _places(data: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(data, str):
        yield above
    elif isinstance(data, dict):
        for key, value in data.items():
            if key not in STEERING:
                yield from _places(value, (*above, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _places(value, (*above, number))


def _get(data: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        data = data[part]
    return data


def _set(data: Any, place: tuple[str | int, ...], value: str) -> None:
    _get(data, place[:-1])[place[-1]] = value


def site(make: Callable[[], str]) -> screens.Site:
    """The site of `tests.screens`, in which everybody means harm."""
    made = screens.site()
    store = made.store
    for info in list(store.walk(layout.DOCUMENTS + "projects/")):
        document = Project.model_validate_json(store.get(info.key).data)
        document = bedevilled(document, make)
        store.put(info.key, document.model_dump_json(by_alias=True).encode())
    for name in ("hello", "traffic"):
        _pipeline(store, name, make)
    manifest = layout.manifest(screens.ULM, 2, 1, "workspace")
    store.put(manifest, _files(Manifest.model_validate_json(store.get(manifest).data), make))
    for number in range(4):
        store.put(
            layout.resource(_key(f"zz{number} {make()}") + (".csv" if number % 2 else "")), _content(make)
        )
    lines = (make().replace("\n", " ").encode("utf-8", "replace").decode() for _ in range(24))
    screens.log(
        store, screens.ULM, 3, [f"{'!' * (place % 3 == 0)}{line}" for place, line in enumerate(lines)]
    )
    made.nodes = {name: bedevilled(state, make) for name, state in made.nodes.items()}
    made.summaries = {key: bedevilled(summary, make) for key, summary in made.summaries.items()}
    made.happened = [
        replace(each, by=make(), text=make(), title=make(), subject=each.subject._replace(id=make()))
        for each in made.happened
    ]
    store.put(layout.resource(f"{_key(f'zz {make()}')}/{_key(make())}"), _content(make))
    return made


def _content(make: Callable[[], str]) -> bytes:
    rows = [",".join(make() for _ in range(3)) for _ in range(8)]
    return "\n".join(rows).encode("utf-8", "replace") + b"\xff\xfe\x1b\n"


def _key(name: str) -> str:
    """A key's last part as near to a text as one can be: stores take neither control characters nor some signs."""
    kept = "".join(letter for letter in name if not acts(letter) and letter not in "/\\\ufffe\uffff")
    return kept[:80]


def _files(manifest: Manifest, make: Callable[[], str]) -> bytes:
    """Names are any bytes here."""
    entries = []
    for each in manifest.entries:
        name = make().replace("/", "|").replace("\0", "").encode("utf-8", "surrogatepass")[:200]
        entries.append(each.model_copy(update={"path": workspace.quote_path(name)}))
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    return workspace.encode(
        Manifest.model_validate(manifest.model_copy(update={"entries": ordered}).model_dump())
    )


def _pipeline(store: ObjectStore, name: str, make: Callable[[], str]) -> None:
    """Its newest text and its heads, as somebody put them there who asked nobody."""
    key = layout.pipeline_document(name)
    head = PipelineHead.model_validate_json(store.get(key).data)
    text = store.get(layout.pipeline_text(name, head.revision)).data
    text += "".join(f"\n# {make()}" for _ in range(4)).encode("utf-8", "replace")
    store.put(layout.pipeline_text(name, head.revision), text)
    changed = bedevilled(head, make).model_copy(
        update={"name": name, "sha256": hashlib.sha256(text).hexdigest()}
    )
    store.put(key, changed.model_dump_json(by_alias=True).encode())


def transfers(make: Callable[[], str]) -> dict[str, Transfer]:
    """Transfers of files with such names."""
    found = [
        replace(each, errand=Errand(each.errand.direction, make(), make()), problem=make())
        for each in screens.transfers()
    ]
    return {each.id: each for each in found}
