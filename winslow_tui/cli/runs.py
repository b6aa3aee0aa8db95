"""`winslow runs` and `diff` (R1460): what ran, what runs, what comes next, and what two runs differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_fields, put_json, put_table, say, time_shown
from winslow_tui.cli.project import ProjectArgument

if TYPE_CHECKING:
    from winslow.run_diff import RunDiff
    from winslow_tui.facade.client import Client


def runs(
    ctx: typer.Context,
    project: ProjectArgument,
    run: Annotated[
        int | None,
        typer.Argument(metavar="RUN", min=1, help="all that is known of this one", show_default=False),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show a project's runs and what comes next. With a number every fact of that run."""
    if run is None:
        _list(client(ctx), project, output)
    else:
        _show(client(ctx), project, run, output)


def _show(used: Client, query: str, n: int, output: Format) -> None:
    from winslow_tui.shown.explanation import silent
    from winslow_tui.shown.runfacts import facts, fields

    project, run = used.runs.get(query, n)
    away = silent(project, used.nodes.if_known() if run.state.held else None)
    told = facts(project, run, silent=away, left=used.runs.left(project, run))
    if output is Format.JSON:
        put_json(told)
        return
    put_fields(fields(told))
    if told["env"]:
        put("")
        rows = [(name, each["value"], each["origin"]) for name, each in told["env"].items()]
        put_table(("VARIABLE", "VALUE", "ORIGIN"), rows)
    if told["attempts"]:
        put("")
        put_table(
            ("ATTEMPT", "NODE", "STARTED", "ENDED", "OUTCOME", "DETAIL", "BIDS"),
            [_attempt(each) for each in told["attempts"]],
        )


def _attempt(told: dict[str, Any]) -> tuple[object, ...]:
    bids = [
        f"{bid['node']} {bid['kind']}" if bid["cost"] is None else f"{bid['node']} {bid['cost']:g} s"
        for bid in told["bids"]
    ]
    adopted = told["adopted_from"]
    return (
        told["attempt"] if adopted is None else f"{told['attempt']}, from {adopted}",
        told["node"],
        time_shown(told["started_at"]),
        time_shown(told["ended_at"]),
        told["outcome"] or "",
        told["detail"],
        ", ".join(bids),
    )


def diff(
    ctx: typer.Context,
    project: ProjectArgument,
    before: Annotated[int, typer.Argument(metavar="RUN", min=1, show_default=False)],
    after: Annotated[int, typer.Argument(metavar="RUN", min=1, show_default=False)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Compare two runs. Environment, stage, requirements, results, how they ended, and changed files."""
    from dataclasses import asdict

    found = client(ctx).runs.diff(project, before, after)
    if output is Format.JSON:
        put_json(asdict(found))
        return
    _put_diff(found)


def _put_diff(found: RunDiff) -> None:
    from winslow_tui.shown.runfacts import diff_rows, file_rows

    rows, files = diff_rows(found), file_rows(found)
    if rows:
        put_table(("WHAT", f"#{found.before}", f"#{found.after}"), rows)
    if files:
        put("")
        put_table(("FILE", "CHANGE", f"#{found.before}", f"#{found.after}"), files)
    for sentence in found.unknown:
        say(sentence)
    if not rows and not files:
        say(f"runs #{found.before} and #{found.after} differ in nothing that is known")


def _list(used: Client, project: str, output: Format) -> None:
    from winslow.lifecycle import state_of
    from winslow_tui.shown.explanation import silent
    from winslow_tui.shown.runlist import begins_with_queue, coming, rows, upcoming

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
    said = (following["note"] or following["reason"]) if following else ""
    queue_first = begins_with_queue(found)
    if following and not queue_first:
        shown.append(("", following["stage"], "PAUSED", "", "", "", "", said, ""))
    for each in waiting:
        stopped = following is not None and queue_first and each["position"] == 1
        detail = "; ".join(filter(None, (said if stopped else "", each["changes"])))
        place = f"{each['position']} in the queue"
        state_ = "PAUSED" if stopped else "next"
        shown.append(("", each["stage"], state_, "", "", "", place, detail, each["comment"]))
    put_table(("RUN", "STAGE", "STATE", "NODE", "SINCE", "ENDED", "MARKS", "DETAIL", "COMMENT"), shown)
