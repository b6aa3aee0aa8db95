"""What a stage finds in its environment, and which files that needs (requirements, last section; design 6).

A value that is an address (`res:…`, `PROJECT:input/…`, `PROJECT:output/…`, `PROJECT#N:…`) is fetched and
replaced by the path the stage sees; what `inputs:` takes from an earlier stage (`#STAGE:…`) stands below
`/resources/@stages`. `secret:NAME` becomes the path of a file lent by the node. Everything Winslow itself
knows is `WINSLOW_*` and cannot be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent import vault
from winslow import address
from winslow.address import Address
from winslow.errors import InvalidInput, NotFound
from winslow.project import Run

RESOURCES, INPUT, WORKSPACE, OUTPUT = "/resources", "/input", "/workspace", "/output"
TARGETS = (RESOURCES, INPUT, WORKSPACE, OUTPUT)


@dataclass(frozen=True)
class Wanted:
    """A file, or with `where.folder` everything below, that a stage needs at `target` (as the stage names it).

    `name` is what the user wrote, for messages."""

    where: Address
    target: str
    name: str


def target(where: Address, project_id: str) -> str:
    """The path a stage sees an address under; another project's files stand below `/resources/@PROJECT/`."""
    if where.place == "resources":
        return _join(RESOURCES, where.path)
    if where.place == "input" and where.project == project_id:
        return _join(INPUT, where.path)
    part = str(where.run) if where.place == "workspace" else where.place
    return _join(RESOURCES, f"@{where.project}", part, where.path)


def wanted(project_id: str, run: Run) -> tuple[Wanted, ...]:
    """Every address that the run's environment or its stage's `inputs:` names, each once.

    Raises NotFound for an earlier stage of which the document names no run, InvalidInput.
    """
    texts = [each.value for each in run.env.values() if address.looks_like(each.value)]
    return tuple(_wanted(text, project_id, run) for text in dict.fromkeys((*run.stage.inputs, *texts)))


def _wanted(text: str, project_id: str, run: Run) -> Wanted:
    of_stage = address.of_stage(text)
    if of_stage is None:
        where = address.parse(text)
        if where.place == "next":
            raise InvalidInput(f"{text}: a stage cannot read what is meant for the next run")
        return Wanted(where=where, target=target(where, project_id), name=text)
    stage, path = of_stage
    n = run.input_runs.get(stage)
    if n is None:
        raise NotFound(f"{text}: there is no run of stage '{stage}' to take it from")
    where = address.parse(f"{project_id}#{n}:{path}")
    return Wanted(
        where=where, target=_join(RESOURCES, "@stages", stage, where.path), name=f"{text} (run #{n})"
    )


def resolve(
    *, project_id: str, project_name: str, run: Run, places: Mapping[str, str], gpus: int
) -> dict[str, str]:
    """The final environment. `places` maps `/resources` and so on to the path the stage really sees, and where it
    refers to secrets, `/run/secrets`."""
    requires = run.stage.requires
    final = {}
    for name, each in run.env.items():
        value = each.value
        if address.looks_like(value):
            seen = target(address.parse(value), project_id)
            root = next(root for root in TARGETS if seen == root or seen.startswith(root + "/"))
            value = places[root] + seen.removeprefix(root)
        secret = address.secret_name(value)
        final[name] = f"{places[vault.PLACE]}/{secret}" if secret else value
    final |= {
        "WINSLOW_PROJECT_ID": project_id,
        "WINSLOW_PROJECT_NAME": project_name,
        "WINSLOW_STAGE_NAME": run.stage.name,
        "WINSLOW_RUN": str(run.n),
        "WINSLOW_DIR_RESOURCES": places[RESOURCES],
        "WINSLOW_DIR_INPUT": places[INPUT],
        "WINSLOW_DIR_WORKSPACE": places[WORKSPACE],
        "WINSLOW_DIR_OUTPUT": places[OUTPUT],
        "WINSLOW_RES_CORES": f"{requires.cpus:g}",
        "WINSLOW_RES_RAM_MB": str(requires.memory >> 20),
        "WINSLOW_RES_GPU_COUNT": str(gpus),
    }
    return final


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)
