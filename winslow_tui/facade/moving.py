"""Files that get another name or another folder (design 8), as `mv` would do it.

None of their bytes pass through here. Of resources and of a project's input the store makes copies under the new names,
then the old ones go: whoever is stopped in between has both, and whoever reads meanwhile finds at least one. Of what
the next run takes over a new manifest is made, whose entries point to the objects they pointed to before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from winslow.address import Address, text
from winslow.errors import Conflict, NotFound, UsageError
from winslow.project import Project
from winslow.store import layout
from winslow.store.files import Progress
from winslow.store.port import ObjectStore
from winslow_tui.facade import filing, workspace_editing
from winslow_tui.facade.filing import PATIENCE, File
from winslow_tui.facade.link import Link


@dataclass(frozen=True)
class Move:
    """What is to be done: `files` are those of `source`, whose new address is `target`."""

    source: Address
    target: Address
    files: tuple[File, ...]
    project: Project | None
    into: Project | None

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(each.size for each in self.files)


def plan(store: ObjectStore, source: Address, target: Address, project: Callable[[str], Project]) -> Move:
    """What `mv SOURCE TARGET` would do; a target that ends in `/` is a folder. `project` reads one by its id.

    Raises NotFound for what is not there, Conflict where the new name is taken, Refused for a place that only runs
    write to, UsageError for a whole place, for a folder that would go into itself, and for another workspace."""
    for where in (source, target):
        if where.place != "next":
            filing.check_sendable(where)
    if not source.path:
        raise UsageError(
            f"{text(source)} is a whole place", hint=f"name a file or a folder in it: {text(source)}NAME"
        )
    name = source.path.rpartition("/")[2]
    if target.folder:
        target = replace(target, path=f"{target.path}/{name}" if target.path else name, folder=False)
    if "next" in (source.place, target.place) and (source.place, source.project) != (
        target.place,
        target.project,
    ):
        raise UsageError(
            "what the next run takes over is moved only within itself",
            hint="fetch it (get), and put it there",
        )
    same = (source.place, source.project) == (target.place, target.project)
    if same and f"{target.path}/".startswith(f"{source.path}/"):
        what = "is its address already" if target.path == source.path else "lies in it"
        raise UsageError(f"{text(source)} cannot be moved: {text(target)} {what}")
    of, into = (project(where.project) if where.project else None for where in (source, target))
    found = filing.find(store, source, of, deep=True)
    if _taken(store, target, into):
        raise Conflict(
            f"there is something at {text(target)} already", hint="choose another name, or remove that first"
        )
    return Move(source, target, tuple(found), of, into)


def _taken(store: ObjectStore, target: Address, project: Project | None) -> bool:
    try:
        return bool(filing.find(store, target, project, deep=False))
    except NotFound:
        return False


def move(link: Link, wanted: Move, progress: Progress) -> Project | None:
    """Do it; `progress` gets the bytes of each file that has its new name. The project whose next run finds something
    else now, if any.

    Raises NotFound when a project was deleted meanwhile, Conflict for a file that somebody replaced meanwhile: that one
    stays under both names."""
    if wanted.source.place == "next":
        assert wanted.project is not None
        changed = workspace_editing.move(link, wanted.project, wanted.source, wanted.target)
        progress(wanted.size)
        return changed
    store = link.store
    copies = []
    for each in wanted.files:
        key = layout.check_key(filing.prefix(wanted.target, wanted.into) + _renamed(each, wanted))
        PATIENCE.ask(partial(store.copy, each.key, key))
        copies.append(key)
        progress(each.size)
    if wanted.into is not None and not filing.stands(store, wanted.into.id):
        for key in copies:
            PATIENCE.ask(partial(store.delete, key))
        raise NotFound(
            f"project '{wanted.into.id}' was deleted meanwhile: {text(wanted.source)} stays where it is"
        )
    replaced = []
    for each in wanted.files:
        try:
            PATIENCE.ask(partial(store.delete, each.key, if_match=each.etag))
        except Conflict:
            replaced.append(each.path)
    if replaced:
        raise Conflict(
            f"somebody replaced {replaced[0]}"
            + (f" and {len(replaced) - 1} more" if len(replaced) > 1 else "")
            + f" meanwhile: it is at {text(wanted.source)} and at {text(wanted.target)} now",
            hint="look at both, and remove one",
        )
    return None


def _renamed(file: File, wanted: Move) -> str:
    return wanted.target.path + file.path[len(wanted.source.path) :]
