"""`winslow up`, `winslow demo` and `winslow agent`: the programs that stay."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from winslow_tui.cli.context import config, flags


class RuntimeName(StrEnum):
    """How stages run."""

    AUTO = "auto"  # docker where it can be used, else process
    DOCKER = "docker"
    PROCESS = "process"


DirOption = Annotated[Path | None, typer.Option("--dir", help="where everything of the site is kept")]
RuntimeOption = Annotated[RuntimeName, typer.Option("--runtime", help="how stages run")]


def up(
    dir_: DirOption = None,
    agents: Annotated[int, typer.Option("--agents", min=1, max=32, help="how many share this machine")] = 1,
    runtime: RuntimeOption = RuntimeName.AUTO,
    ready_file: Annotated[Path | None, typer.Option("--ready-file", help="written when all is ready")] = None,
) -> None:
    """Run a whole site on this machine in the foreground. Broker, store and agents, on loopback only."""
    from winslow_tui.cli.up import up as run

    run(directory=dir_, agents=agents, runtime=runtime.value, ready_file=ready_file)


def demo(
    dir_: DirOption = None,
    headless: Annotated[bool, typer.Option("--headless", help="no live view")] = False,
    runtime: RuntimeOption = RuntimeName.AUTO,
) -> None:
    """Run the traffic example on a site of its own. On real video, with two agents."""
    from winslow_tui.cli.demo import demo as run

    run(directory=dir_, headless=headless, runtime=runtime.value)


def agent(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", help="what this node is called")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="where the agent keeps its files")
    ] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", help="auto, docker, process, or a list")] = None,
) -> None:
    """Run this machine's agent in the foreground."""
    import os
    import sys

    config(ctx)  # a mistake in it is told here, in one sentence
    given = flags(ctx)
    wanted = {
        "WINSLOW_CONFIG": given.config,
        "WINSLOW_SITE": given.site,
        "WINSLOW_BROKER_URL": given.broker,
        "WINSLOW_STORE_URL": given.store,
        "WINSLOW_AGENT_NAME": name,
        "WINSLOW_AGENT_DATA_DIR": str(data_dir.absolute()) if data_dir else None,
        "WINSLOW_AGENT_RUNTIME": runtime,
    }
    environ = dict(os.environ) | {variable: value for variable, value in wanted.items() if value is not None}
    os.execve(sys.executable, [sys.executable, "-P", "-m", "node_agent"], environ)  # noqa: S606 - no shell is the point
