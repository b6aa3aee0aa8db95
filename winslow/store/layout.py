"""Every key of the store, in one place (design 3 and 8): small pure functions, and inverses where one lists.

    site.json                                             who this store belongs to
    documents/projects/<id>.json                          project documents, nothing else under documents/
    documents/pipelines/<name>.json                       pipelines' heads
    documents/nodes/<name>.json                           what people want of nodes
    pipelines/<name>/<revision>.yaml                      a definition as the user wrote it
    pipelines/<name>/<revision>.json                      the head that named it, once there is a newer one
    resources/<path>                                      the global pool of inputs
    projects/<id>/input/<path>                            a project's own uploads
    projects/<id>/activity/<first revision>-<last>.jsonl  what happened to it, older than its document tells
    projects/<id>/runs/<n>.<k>/workspace|output/<name>    files of run n, attempt k, under generated names
    projects/<id>/runs/<n>.<k>/workspace|output/manifest.json
    projects/<id>/runs/<n>.<k>/log/<first byte>-<first line>.log
    projects/<id>/runs/<n>.<k>/events/<first byte>-<first line>.jsonl
    projects/<id>/edits/<token>/manifest.json, <name>     files that a person changed for a next run
    projects/<id>/runs/<n>.<k>/live/<token>/<name>        copies of a running attempt's files, for one download
    uploads/<key>                                         an upload of that key is open, where the store lists none
    alive/<node>                                          a node's counter
    probe/<token>/…                                       objects of a check, gone when it ends

Names that come from people or machines are checked here, so no name can reach into another's place.
"""

from __future__ import annotations

import re
from typing import Literal

from winslow.errors import InvalidInput
from winslow.pipeline import NAME

Area = Literal["workspace", "output"]

MAX_KEY_BYTES = 1024
SITE = "site.json"
DOCUMENTS = "documents/"
PROJECT_DOCUMENTS = "documents/projects/"
PIPELINE_DOCUMENTS = "documents/pipelines/"
NODE_DOCUMENTS = "documents/nodes/"
RESOURCES = "resources/"
ALIVE = "alive/"
UPLOADS = "uploads/"

_PROJECT_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?")
_OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_WRITTEN = re.compile(r"projects/[^/]+/runs/(\d{1,18})\.\d+/")
_SEGMENT = re.compile(r"(\d{16})-(\d+)\.(?:log|jsonl)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def check_key(key: str) -> str:
    """The key itself, if every store and URL library takes it unchanged.

    Raises InvalidInput for an empty key or component, `.` and `..` (URL libraries resolve them and the
    request would reach another key), control characters and more than 1,024 bytes of UTF-8.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(
            f"{key!r} cannot be a key: a part of the path is empty, '.' or '..'",
            hint="name the file by a plain relative path",
        )
    if _CONTROL.search(key) or "\\" in key:
        raise InvalidInput(
            f"{key!r} cannot be a key: it holds a control character or a backslash", hint="rename the file"
        )
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"{key[:80]!r}… cannot be a key: longer than {MAX_KEY_BYTES} bytes", hint="shorten the path"
        )
    return key


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidInput(f"{value[:80]!r} is not {what}")
    return value


def project_document(project: str) -> str:
    """The key of a project's document."""
    return f"{PROJECT_DOCUMENTS}{_checked(_PROJECT_ID, project, 'a project id')}.json"


def project_of_document(key: str) -> str | None:
    """The project's id from its document's key; None for any other key."""
    return _name_of(key, PROJECT_DOCUMENTS, _PROJECT_ID)


def pipeline_document(name: str) -> str:
    """The key of a pipeline's head."""
    return f"{PIPELINE_DOCUMENTS}{_checked(NAME, name, 'a name of a pipeline')}.json"


def pipeline_of_document(key: str) -> str | None:
    """The pipeline's name from its head's key; None for any other key."""
    return _name_of(key, PIPELINE_DOCUMENTS, NAME)


def node_document(name: str) -> str:
    """The key of a node's wish."""
    return f"{NODE_DOCUMENTS}{_checked(NAME, name, 'a name of a node')}.json"


def node_of_document(key: str) -> str | None:
    """The node's name from its wish's key; None for any other key."""
    return _name_of(key, NODE_DOCUMENTS, NAME)


def _name_of(key: str, prefix: str, pattern: re.Pattern[str]) -> str | None:
    if not key.startswith(prefix) or not key.endswith(".json"):
        return None
    name = key[len(prefix) : -len(".json")]
    return name if pattern.fullmatch(name) else None


def pipeline_revisions(name: str) -> str:
    """The prefix of all texts of a pipeline, and of the heads that named them."""
    return f"pipelines/{_checked(NAME, name, 'a name of a pipeline')}/"


def pipeline_text(name: str, revision: int) -> str:
    """The key of one revision's text."""
    return f"{pipeline_revisions(name)}{revision}.yaml"


def pipeline_record(name: str, revision: int) -> str:
    """The key of an older revision's head."""
    return f"{pipeline_revisions(name)}{revision}.json"


def revision_of_key(key: str) -> int | None:
    """The revision from the key of a text or a record; None for any other key."""
    match = re.fullmatch(r"pipelines/[^/]+/(\d+)\.(?:yaml|json)", key)
    return int(match[1]) if match else None


def resource(path: str) -> str:
    """The key of a file in the resources; `path` is relative and readable. Raises InvalidInput."""
    return check_key(RESOURCES + path)


def project(project: str) -> str:
    """The prefix of everything a project has but its document."""
    return f"projects/{_checked(_PROJECT_ID, project, 'a project id')}/"


def project_input(project_id: str, path: str = "") -> str:
    """The key of one of a project's own uploads; without `path` their prefix."""
    prefix = f"{project(project_id)}input/"
    return check_key(prefix + path) if path else prefix


def activity_block(project_id: str, *, first: int, last: int) -> str:
    """The key of the records of these revisions, both included; keys sort by them."""
    return f"{project(project_id)}activity/{first:09d}-{last:09d}.jsonl"


def attempt(project_id: str, n: int, k: int) -> str:
    """The prefix of everything that attempt `k` of run `n` wrote."""
    return f"{project(project_id)}runs/{n}.{k}/"


def area(project_id: str, n: int, k: int, area: Area) -> str:
    """The prefix of an attempt's workspace or output objects."""
    return f"{attempt(project_id, n, k)}{area}/"


def object_(project_id: str, n: int, k: int, area_: Area, name: str) -> str:
    """The key of one file; `name` is generated (letters, digits, '_', '-'), never a path."""
    return area(project_id, n, k, area_) + _checked(_OBJECT_NAME, name, "a generated object name")


def run_of_object(key: str) -> int | None:
    """The run that wrote the file of that key; None where no run did."""
    match = _WRITTEN.match(key)
    return int(match[1]) if match else None


def manifest(project_id: str, n: int, k: int, area_: Area) -> str:
    """The key of the manifest of an attempt's workspace or output; no object name can hide it."""
    return f"{area(project_id, n, k, area_)}manifest.json"


def edits(project_id: str) -> str:
    """The prefix of all files that people changed for a next run."""
    return f"{project(project_id)}edits/"


def edit(project_id: str, token: str) -> str:
    """The prefix of one change of files; `token` is random."""
    return f"{edits(project_id)}{_checked(_OBJECT_NAME, token, 'a token')}/"


def edit_object(project_id: str, token: str, name: str) -> str:
    """The key of one file that a change brought; `name` is generated."""
    return edit(project_id, token) + _checked(_OBJECT_NAME, name, "a generated object name")


def edit_manifest(project_id: str, token: str) -> str:
    """The key of the manifest that a change made; no object name can hide it."""
    return f"{edit(project_id, token)}manifest.json"


def edit_of_manifest(project_id: str, key: str) -> str | None:
    """The prefix of the change whose manifest has that key; None for any other key."""
    prefix, name = key[: key.rfind("/") + 1], key[key.rfind("/") + 1 :]
    token = prefix.removeprefix(edits(project_id)).rstrip("/")
    whole = name == "manifest.json" and prefix == f"{edits(project_id)}{token}/"
    return prefix if whole and _OBJECT_NAME.fullmatch(token) else None


def logs(project_id: str, n: int, k: int) -> str:
    """The prefix of an attempt's log segments."""
    return f"{attempt(project_id, n, k)}log/"


def log_segment(project_id: str, n: int, k: int, *, first_byte: int, first_line: int) -> str:
    """The key of the segment that begins at that byte of the archive; keys sort by it."""
    return f"{logs(project_id, n, k)}{first_byte:016d}-{first_line}.log"


def events(project_id: str, n: int, k: int) -> str:
    """The prefix of an attempt's own events (JSON lines)."""
    return f"{attempt(project_id, n, k)}events/"


def event_segment(project_id: str, n: int, k: int, *, first_byte: int, first_line: int) -> str:
    """The key of a segment of events, named as log segments are."""
    return f"{events(project_id, n, k)}{first_byte:016d}-{first_line}.jsonl"


def segment_start(key: str) -> tuple[int, int] | None:
    """(first byte, first line) from a segment's key; None for any other key."""
    match = _SEGMENT.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), int(match[2])) if match else None


def live(project_id: str, n: int, k: int) -> str:
    """The prefix of all copies of an attempt's files that people asked for while it ran."""
    return f"{attempt(project_id, n, k)}live/"


def live_copies(project_id: str, n: int, k: int, token: str) -> str:
    """The prefix of one person's copies; `token` is random."""
    return f"{live(project_id, n, k)}{_checked(_OBJECT_NAME, token, 'a token')}/"


def live_copy(project_id: str, n: int, k: int, token: str, name: str) -> str:
    """The key of one copy; `name` is generated."""
    return live_copies(project_id, n, k, token) + _checked(_OBJECT_NAME, name, "a generated object name")


def alive(node: str) -> str:
    """The key of a node's counter."""
    return f"{ALIVE}{_checked(NAME, node, 'a name of a node')}"


def probe(token: str) -> str:
    """The prefix for one check of the store; `token` is random."""
    return f"probe/{_checked(_OBJECT_NAME, token, 'a token')}/"
