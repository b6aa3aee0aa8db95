"""`winslow node` (R1510 to R1530): who is there, what they have and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from winslow_tui.cli.context import client, config
from winslow_tui.cli.output import Format, OutputOption, plain, put, put_fields, put_json, put_table

if TYPE_CHECKING:
    from winslow.node import NodeState

app = typer.Typer(help="Nodes: who is there, what they have and do.", no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show every node the broker knows."""
    from winslow.placement import size_text

    nodes = client(ctx).nodes()
    if output is Format.JSON:
        put_json([plain(node) for node in nodes])
        return
    rows = [
        (
            node.node,
            node.presence.value,
            f"{node.free.cpus:g}/{node.hardware.cpus:g}",
            f"{size_text(node.free.memory)}/{size_text(node.hardware.memory)}",
            f"{len(node.free.gpus)}/{len(node.hardware.gpus)}",
            ", ".join(node.runtime),
            ", ".join(f"{run.project} #{run.run} {run.stage} {run.phase}".rstrip() for run in node.runs),
            node.note,
        )
        for node in nodes
    ]
    put_table(("NODE", "PRESENCE", "FREE CORES", "FREE MEMORY", "FREE GPUS", "RUNTIME", "RUNS", "NOTE"), rows)


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NODE", help="its name, or local", show_default=False)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Show one node: hardware, load, runs. `local` needs neither broker nor store."""
    if name == "local":
        local(ctx, output)
        return
    from winslow.errors import NotFound
    from winslow_tui.names import nearest

    used = client(ctx)
    states, usage = used.node_usage()
    state = states.get(name)
    if state is None:
        raise NotFound(f"there is no node '{name}'", hint=nearest(name, states, "winslow node list"))
    used_now = usage.get(name)
    if output is Format.JSON:
        put_json(plain(state) | {"usage": plain(used_now) if used_now else None})
        return
    _show(state, used_now)


def _show(state: NodeState, usage: Any) -> None:
    from winslow.placement import size_text

    hardware, free = state.hardware, state.free
    put_fields(
        {
            "node": state.node,
            "presence": state.presence.value,
            "note": state.note,
            "host": state.host,
            "version": state.version,
            "runtime": ", ".join(state.runtime),
            "labels": ", ".join(state.labels),
            "processor": hardware.cpu_model,
            "cores": f"{hardware.cpus:g}, {free.cpus:g} not reserved"
            + (f", {usage.cpu:.0f} % of the machine used" if usage else ""),
            "memory": f"{size_text(hardware.memory)}, {size_text(free.memory)} not reserved"
            + (f", {size_text(usage.memory)} of the machine used" if usage else ""),
            "disk": f"{size_text(hardware.disk)}, {size_text(free.disk)} not reserved"
            if hardware.disk
            else "",
            "network": f"{size_text(int(usage.net_in))}/s in, {size_text(int(usage.net_out))}/s out"
            if usage
            else "",
            **{
                f"gpu {number}": f"{gpu.name} {size_text(gpu.memory)} {'free' if gpu.uuid in free.gpus else 'reserved'}"
                for number, gpu in enumerate(hardware.gpus)
            },
        }
    )
    if state.runs:
        put("")
        rows = [(run.project, f"#{run.run}", run.attempt, run.stage, run.phase) for run in state.runs]
        put_table(("PROJECT", "RUN", "ATTEMPT", "STAGE", "PHASE"), rows)


@app.command()
def local(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Look at this machine's agent on the spot, without broker or store; exit code 1 when none runs."""
    from winslow.placement import size_text
    from winslow_tui.local_node import look

    told = look(config(ctx).settings.agent)
    if output is Format.JSON:
        put_json(told)
    else:
        put_fields(
            {
                "node": told["node"],
                "agent": "runs" if told["agent_runs"] else "does not run",
                "directory": told["data_dir"],
                "cores": f"{told['cpus']}, {told['cpu_percent']:.0f} % used",
                "memory": f"{size_text(told['memory'])}, {size_text(told['memory_used'])} used",
                "disk": f"{size_text(told['disk'])}, {size_text(told['disk_free'])} free"
                if "disk" in told
                else "",
            }
        )
        put("")
        rows = [
            (
                each.get("project") or "",
                f"#{each.get('run')}.{each.get('attempt')}",
                each.get("stage") or "",
                each.get("step") or "",
                "results are not stored yet" if each["unsent"] else each.get("detail") or "",
                each["directory"],
            )
            for each in told["attempts"]
        ]
        put_table(("PROJECT", "ATTEMPT", "STAGE", "STEP", "NOTE", "DIRECTORY"), rows)
    if not told["agent_runs"]:
        raise typer.Exit(1)
