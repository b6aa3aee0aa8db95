"""The options that change a stage for one run, the same for every command that asks for a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

import typer

from winslow_tui.cli.output import pairs

_HELP = {
    "env": "environment; repeatable",
    "image": "another image",
    "requires": "another requirement: cpus, memory, gpus.count, gpus.memory, gpus.name, shm, disk, tags; repeatable",
    "cpus": "cores",
    "memory": "for example 16GiB",
    "gpus": "how many",
    "workspace_from": "a run's number, none for an empty one, 0 for what was put there at the start; "
    "default: the latest success of the stage before",
    "single": "pause after this run",
    "comment": "what this run is for",
}


def _options(
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help=_HELP["env"])] = None,
    image: Annotated[str, typer.Option("--image", help=_HELP["image"])] = "",
    requires: Annotated[
        list[str] | None, typer.Option("--requires", metavar="KEY=VALUE", help=_HELP["requires"])
    ] = None,
    cpus: Annotated[str | None, typer.Option("--cpus", metavar="N", help=_HELP["cpus"])] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help=_HELP["memory"])] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", metavar="N", help=_HELP["gpus"])] = None,
    workspace_from: Annotated[
        str | None, typer.Option("--workspace-from", metavar="N|none|0", help=_HELP["workspace_from"])
    ] = None,
    single: Annotated[bool, typer.Option("--single", help=_HELP["single"])] = False,
    comment: Annotated[str, typer.Option("--comment", help=_HELP["comment"])] = "",
) -> Any:
    """What the options say, as `changes.Changes`. Raises UsageError."""
    from winslow_tui.facade.changes import Changes, requirements, workspace

    return Changes(
        env=pairs(env or [], "--env"),
        image=image,
        requires=requirements(requires or [], cpus=cpus, memory=memory, gpus=gpus),
        workspace=workspace(workspace_from),
        single=single,
        comment=comment,
    )


def with_changes(command: Callable[..., None]) -> Callable[..., None]:
    """A command that gets its `changes` from the options above, which stand before its own `output`."""
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "changes"]
    texts = {each.name: each.annotation for each in own}
    hints = get_type_hints(
        SimpleNamespace(__annotations__=texts), globalns=command.__globals__, include_extras=True
    )
    hints |= get_type_hints(_options, include_extras=True)
    options = list(inspect.signature(_options).parameters.values())
    last = [each for each in own if each.name == "output"]
    every = [each for each in own if each.name != "output"] + options + last
    names = {each.name for each in options}

    @wraps(command)
    def called(*args: Any, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in names & kwargs.keys()}
        command(*args, **kwargs, changes=_options(**given))

    parameters = [each.replace(annotation=hints[each.name]) for each in every]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called
