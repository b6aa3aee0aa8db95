"""Which objects a run has to have on its node, and where its stage will find them (design 6, Places; 8).

The same plan prices a bid, from answers that may be a little old, and fills the directories. Everything here
blocks on the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node_agent import environment
from node_agent.environment import INPUT, RESOURCES, Wanted
from node_agent.places import Placement, PlacePlan, placement, source_of
from node_agent.sources import Sources
from winslow import address, workspace
from winslow.errors import InvalidInput, NotFound
from winslow.lineage import left_by, taken_over
from winslow.project import Project, Run
from winslow.store import layout
from winslow.workspace import Entry, EntryType, Manifest


@dataclass(frozen=True)
class Needs:
    """`missing` are sentences for people: with one of them the run cannot start."""

    plan: PlacePlan
    missing: tuple[str, ...] = ()


def find(sources: Sources, project: Project, run: Run, *, attempt: int, age: float = 0.0) -> Needs:
    """Resolve every address the run names, with listings that may be `age` seconds old. Raises StoreUnreachable;
    what is not there is in `missing`."""
    trees: dict[str, dict[str, Placement]] = {RESOURCES: {}, INPUT: {}}
    missing: list[str] = []
    for each in _below(sources, layout.project_input(project.id), at="", age=age):
        trees[INPUT][each.path] = each
    for wanted in _wanted(project, run, missing):
        root = INPUT if wanted.target.startswith(INPUT + "/") or wanted.target == INPUT else RESOURCES
        at = wanted.target.removeprefix(root).lstrip("/")
        try:
            for each in _placements(sources, project, wanted, at, age=age):
                trees[root][each.path] = each
        except NotFound:
            missing.append(f"{wanted.name}: there is no such file in the store")
        except InvalidInput as error:
            missing.append(f"{wanted.name}: {error}")
    manifest, parent = None, ""
    if run.workspace_from is not None:
        try:
            manifest, parent = _workspace(
                sources, project, taken_over(project, run), of=f"run #{run.workspace_from}"
            )
        except (NotFound, InvalidInput) as error:
            missing.append(str(error))
    plan = PlacePlan(
        project=project.id,
        run=run.n,
        attempt=attempt,
        resources=tuple(trees[RESOURCES].values()),
        input=tuple(trees[INPUT].values()),
        workspace=manifest,
        parent=parent,
    )
    return Needs(plan=plan, missing=tuple(missing))


def _wanted(project: Project, run: Run, missing: list[str]) -> tuple[Wanted, ...]:
    try:
        return environment.wanted(project.id, run)
    except (NotFound, InvalidInput) as error:
        missing.append(str(error))
        return ()


def _placements(
    sources: Sources, project: Project, wanted: Wanted, at: str, *, age: float
) -> tuple[Placement, ...]:
    where = wanted.where
    if where.place == "resources":
        return _object_or_folder(sources, layout.RESOURCES + where.path, at, folder=where.folder, age=age)
    if where.place == "input":
        key = layout.project_input(where.project) + where.path
        return _object_or_folder(sources, key, at, folder=where.folder, age=age)
    other = project if where.project == project.id else sources.project(where.project)
    entries = workspace.overlay(*_manifests(sources, other, where.run))
    return _taken(entries, where.path, at=at, of=address.text(where))


def _object_or_folder(
    sources: Sources, key: str, at: str, *, folder: bool, age: float
) -> tuple[Placement, ...]:
    if not folder:
        try:
            found = placement(sources.stat(key, age=age), at)
            return (found,) if found else ()
        except NotFound:
            pass  # perhaps a folder, written without its slash
    below = _below(sources, key.rstrip("/") + "/", at=at, age=age)
    if not below:
        raise NotFound(f"nothing is stored below {key}")
    return below


def _below(sources: Sources, prefix: str, *, at: str, age: float) -> tuple[Placement, ...]:
    each = (
        placement(info, _join(at, info.key.removeprefix(prefix))) for info in sources.below(prefix, age=age)
    )
    return tuple(found for found in each if found is not None)


def _taken(entries: Iterable[Entry], path: str, *, at: str, of: str) -> tuple[Placement, ...]:
    """The file or folder `path` of another run's entries, placed at `at`."""
    wanted, base = workspace.quote_path(path.encode()), workspace.quote_path(at.encode())
    found = []
    for entry in entries:
        if entry.type is EntryType.DIR or not (
            not wanted or entry.path == wanted or entry.path.startswith(wanted + "/")
        ):
            continue
        rest = entry.path.removeprefix(wanted).lstrip("/")
        found.append(
            Placement(
                path=workspace.check_path(_join(base, rest)),
                source=source_of(entry) if entry.object else None,
                target=entry.target,
            )
        )
    if not found:
        raise NotFound(f"{of}: there is no such file")
    return tuple(found)


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _workspace(sources: Sources, project: Project, key: str, *, of: str) -> tuple[Manifest, str]:
    if not key:
        raise NotFound(f"{project.id}: {of} left no workspace")
    return sources.manifest(key, project=project.id), key


def _manifests(sources: Sources, project: Project, n: int | None) -> Iterable[Manifest]:
    if n is not None:
        return [_workspace(sources, project, left_by(project, n), of=f"run #{n}")[0]]
    keys = [run.manifests.output for run in project.runs if run.state.ended and run.manifests.output]
    return [sources.manifest(key, project=project.id) for key in keys]
