"""Removing the workspaces of runs that need them no more (design 8): objects go, manifests and history stay.

A manifest may point to objects of earlier runs. So of a pruned run goes what no other run's manifest points
to, nor the files a person changed for the next run. Everything here is idempotent: whoever comes later, another
client or an agent, finishes what was cut.

A document that is a little old does no harm: what may take over files later begins with the manifest of a run
that is not pruned in it, or with files changed since, and both are kept whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from winslow.errors import InvalidInput, NotFound, Refused
from winslow.project import Project
from winslow.store import layout
from winslow.store.manifests import read_manifest
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectInfo, ObjectStore

AT_ONCE = 8


@dataclass(frozen=True)
class Leftover:
    """Objects of one run's workspace: those nothing needs any more, and those that others point to, too."""

    run: int
    unneeded: tuple[ObjectInfo, ...]
    shared: tuple[ObjectInfo, ...]


def leftovers(store: ObjectStore, project: Project, runs: Collection[int]) -> list[Leftover]:
    """What there is of the workspaces of `runs`, were they (and those that are pruned already) without files.

    Raises Refused where a manifest that is kept cannot be read: then nothing is known to be unneeded.
    """
    held = {n: list(_objects(store, project, n)) for n in sorted(runs)}
    present = {info.key for infos in held.values() for info in infos}
    gone = {*runs, *(each.n for each in project.pruned)}
    needed = _pointed_to(store, project, gone, present) if present else frozenset()
    return [
        Leftover(
            run=n,
            unneeded=tuple(info for info in infos if info.key not in needed),
            shared=tuple(info for info in infos if info.key in needed),
        )
        for n, infos in held.items()
    ]


def sweep(store: ObjectStore, project: Project) -> int:
    """Remove what is left of the runs that the document says are pruned; how many bytes that were.

    Raises as `leftovers`, and StoreUnreachable; doing it again goes on."""
    found = leftovers(store, project, [each.n for each in project.pruned])
    objects = [info for leftover in found for info in leftover.unneeded]
    in_parallel(AT_ONCE, "pruning", lambda number: store.delete(objects[number].key), range(len(objects)))
    return sum(info.size for info in objects)


def _objects(store: ObjectStore, project: Project, n: int) -> Iterator[ObjectInfo]:
    """Every object of a run's workspaces, of all its attempts, but the manifests."""
    run = project.run(n)
    for attempt in run.attempts if run else ():
        manifest = layout.manifest(project.id, n, attempt.k, "workspace")
        for info in store.walk(layout.area(project.id, n, attempt.k, "workspace")):
            if info.key != manifest:
                yield info


def _pointed_to(
    store: ObjectStore, project: Project, gone: Collection[int], present: Collection[str]
) -> frozenset[str]:
    """Those of `present` that a manifest points to which is kept."""
    keys = [run.manifests.workspace for run in project.runs if run.n not in gone]
    keys += [run.manifests.output for run in project.runs]
    keys += [run.workspace_edited for run in project.active]
    keys += [edited.manifest for edited in (project.initial, project.edited) if edited is not None]
    wanted = [key for key in dict.fromkeys(keys) if key]

    def read(number: int) -> frozenset[str]:
        try:
            manifest = read_manifest(store, wanted[number], project=project.id)
        except (NotFound, InvalidInput) as error:
            raise Refused(
                f"{project.id}: nothing is removed, since what must stay is not known: {error}"
            ) from error
        return frozenset(manifest.objects() & set(present))

    return frozenset().union(*in_parallel(AT_ONCE, "manifests", read, range(len(wanted))))
