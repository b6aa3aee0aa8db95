"""How to get a shell where a run is: Winslow starts none, it says which commands do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from winslow.errors import Refused
from winslow.project import Project, Run
from winslow_tui.program.verbs import verb
from winslow_tui.screens.page import open_page

if TYPE_CHECKING:
    from winslow.node import NodeState
    from winslow_tui.program.app import WinslowApp


@verb("shell", "run", "a shell where it runs", changes=False)
def shell(app: WinslowApp, keys: Sequence[str]) -> None:
    """Say how to get into the container of a running run."""
    project, _, number = keys[0].rpartition("#")

    def look() -> str:
        document = app.client.project(project)
        run = document.run(int(number))
        node = app.site.nodes.get(run.attempt.node) if run and run.attempt else None
        if run is None or not run.state.held or node is None:
            raise Refused(f"{keys[0]} runs nowhere now", hint="its log, its facts and its files are kept")
        return way_in(document, run, node)

    open_page(app, f"{keys[0]}: a shell where it runs", look)


def way_in(project: Project, run: Run, node: NodeState) -> str:
    """The commands, to be typed on this machine."""
    assert run.attempt is not None
    host = shlex.quote(node.host or node.node)
    if "docker" not in node.runtime:
        return (
            f"{node.node} runs stages as plain processes: there is no container to go into. On that machine\n\n"
            f"  ssh {host}\n  winslow node local files {project.id} {run.n}\n\nlists what it has."
        )
    about = {"project": project.id, "run": run.n, "attempt": run.attempt.k}
    filters = "".join(f" \\\n      --filter label=winslow.{name}={value}" for name, value in about.items())
    return (
        f"  ssh -t {host}\n  docker exec -it $(docker ps -q{filters}) sh\n\n"
        "What is changed there counts as the stage's own doing:\nit is collected when the run ends."
    )
