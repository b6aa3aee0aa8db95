"""`winslow runs` (R1460): what ran, what runs and what comes next."""

from __future__ import annotations

import typer

from winslow_tui.cli.context import client
from winslow_tui.cli.output import Format, OutputOption, put_json, put_table, time_shown
from winslow_tui.cli.project import ProjectArgument


def runs(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a project's runs, and what comes next."""
    from winslow.lifecycle import state_of
    from winslow_tui.explanation import silent
    from winslow_tui.runlist import coming, rows, upcoming

    used = client(ctx)
    found = used.project(project)
    held = any(run.state.held for run in found.active)
    told = rows(found, silent(found, used.nodes.if_known() if held else None))
    following = upcoming(found)
    waiting = coming(found)
    state, reason = state_of(found)
    if output is Format.JSON:
        put_json(
            {
                "id": found.id,
                "state": state.value,
                "reason": reason,
                "runs": told,
                "next": following,
                "queue": waiting,
            }
        )
        return
    shown = [
        (
            f"#{row['run']}",
            row["stage"],
            row["state"],
            row["node"],
            time_shown(row["started_at"] or row["queued_at"]),
            time_shown(row["ended_at"]),
            "; ".join(row["marks"]),
            row["detail"]
            or row["reason"]
            or ", ".join(f"{key}={value}" for key, value in row["results"].items()),
            row["comment"],
        )
        for row in told
    ]
    if following:
        said = following["note"] or following["reason"]
        shown.append(("", following["stage"], "PAUSED", "", "", "", "", said, ""))
    for each in waiting:
        place = f"{each['position']} in the queue"
        shown.append(("", each["stage"], "next", "", "", "", place, each["changes"], each["comment"]))
    put_table(("RUN", "STAGE", "STATE", "NODE", "SINCE", "ENDED", "MARKS", "DETAIL", "COMMENT"), shown)
