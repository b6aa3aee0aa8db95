"""`winslow explain`: why a project waits, and who bid what."""

from __future__ import annotations

import typer

from winslow.terminal_text import line
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, put_table
from winslow_tui.cli.project import ProjectArgument


def explain(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Say why a project waits, and what each node says to it. With the bids of its attempts and their parts."""
    from winslow_tui.shown.explanation import explain as told_of

    used = client(ctx)
    found = used.project(project)
    told = told_of(found, used.nodes.if_known() if found.active else None)
    if output is Format.JSON:
        put_json(told)
        return
    why = f" ({told['reason']})" if told["reason"] else ""
    following = f"; next stage: {told['next_stage']}" if told["next_stage"] else ""
    put(line(f"{told['project']}: {told['state']}{why}{following}"))
    if told["way_on"]:
        put(f"go on with: {told['way_on']}")
    for run in told["runs"]:
        put(
            f"\nrun #{run['run']} {run['stage']} {run['state']}"
            + (f": {run['detail']}" if run["detail"] else "")
        )
        if "waits" in run:
            put(f"  {run['waits']}")
            rows = [
                (name, node["presence"], node["answer"], "; ".join(node["reasons"]))
                for name, node in run["nodes"].items()
            ]
            put_table(("NODE", "PRESENCE", "ANSWER", "WHY"), rows)
        for attempt in run["attempts"]:
            number = attempt["attempt"]
            if attempt["adopted_from"] is not None:
                number = f"{number}, with the container of attempt {attempt['adopted_from']},"
            put(
                f"\n  attempt {number} on {attempt['node']} {attempt['outcome']} {attempt['detail']}".rstrip()
            )
            bids = [
                (
                    bid["node"],
                    bid["kind"],
                    "" if bid["cost"] is None else f"{bid['cost']:.3f}",
                    ", ".join(f"{name} {seconds:g}" for name, seconds in bid["parts"].items()),
                    bid["reason"],
                )
                for bid in attempt["bids"]
            ]
            put_table(("NODE", "ANSWER", "COST (s)", "PARTS (s)", "WHY"), bids)
