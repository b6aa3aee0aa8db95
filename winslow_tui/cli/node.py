"""`winslow node` (R1510 to R1530): who is there, what they have and do, and what people want of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from winslow_tui.cli.context import OutputOption, client, config
from winslow_tui.cli.output import Format, plain, put, put_fields, put_json, put_table, say
from winslow_tui.cli.question import must_agree

if TYPE_CHECKING:
    from broker.messages import WishNotice
    from winslow.node import NodeState

app = typer.Typer(help="Nodes: who is there, what they have and do.", no_args_is_help=True)
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="its name", show_default=False)]

local_app = typer.Typer(help="This machine's agent, on the spot: without broker or store.")
app.add_typer(local_app, name="local")


class Area(StrEnum):
    """One of a run's directories."""

    WORKSPACE = "workspace"
    OUTPUT = "output"


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show every node the broker knows."""
    from winslow.placement import size_text

    found = client(ctx).nodes.usage()
    nodes, wishes = [found.states[name] for name in sorted(found.states)], found.wishes
    if output is Format.JSON:
        put_json([_told(node, wishes.get(node.node)) for node in nodes])
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
            _note(node, wishes.get(node.node)),
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
    from winslow_tui.facade.names import nearest

    found = client(ctx).nodes.usage()
    state, wish = found.states.get(name), found.wishes.get(name)
    if state is None:
        raise NotFound(f"there is no node '{name}'", hint=nearest(name, found.states, "winslow node list"))
    used_now = found.usage.get(name)
    if output is Format.JSON:
        put_json(_told(state, wish) | {"usage": plain(used_now) if used_now else None})
        return
    _show(state, wish, used_now)


def _told(state: NodeState, wish: WishNotice | None) -> dict[str, Any]:
    wanted = wish.model_dump(mode="json", include={"drain", "labels"}) if wish else None
    return {**plain(state), "wish": wanted}


def _note(state: NodeState, wish: WishNotice | None) -> str:
    """What the node says of itself, and a wish it has not heard yet."""
    from winslow.node import Presence

    asked = ""
    if wish is not None and wish.drain is not None and state.presence is not Presence.DRAINING:
        who = f" by {wish.drain.by}" if wish.drain.by else ""
        asked = f"asked to drain{who}" + (f": {wish.drain.reason}" if wish.drain.reason else "")
    return "; ".join(filter(None, (state.note, asked)))


def _show(state: NodeState, wish: WishNotice | None, usage: Any) -> None:
    from winslow.placement import size_text
    from winslow_tui.shown.wording import clock_told

    hardware, free = state.hardware, state.free
    put_fields(
        {
            "node": state.node,
            "presence": state.presence.value,
            "note": _note(state, wish),
            "host": state.host,
            "clock": clock_told(state.skew) if state.skew is not None else "",
            "version": state.version,
            "runtime": ", ".join(state.runtime),
            "kept free for": f"{state.hold.project} #{state.hold.run}" if state.hold else "",
            "labels": ", ".join(state.labels),
            "of them given": ", ".join(wish.labels) if wish else "",
            "secrets": ", ".join(state.secrets),
            "processor": hardware.cpu_model,
            "cores": f"{hardware.cpus:g}, {free.cpus:g} not reserved"
            + (f", {usage.cpu:.0f} % of the machine used" if usage else ""),
            "memory": f"{size_text(hardware.memory)}, {size_text(free.memory)} not reserved"
            + (f", {size_text(usage.memory)} of the machine used" if usage else ""),
            "disk": f"{size_text(hardware.disk)}, {size_text(free.disk)} not reserved"
            if hardware.disk
            else "",
            "cache": size_text(state.cached) if state.cached is not None else "",
            "network": f"{size_text(int(usage.net_in))}/s in, {size_text(int(usage.net_out))}/s out"
            if usage
            else "",
            **{
                f"gpu {number}": f"{gpu.name} {size_text(gpu.memory)} {'free' if gpu.uuid in free.gpus else 'reserved'}"
                for number, gpu in enumerate(hardware.gpus)
            },
        }
    )
    if held := state.held():
        put("")
        rows = [
            (run.project, f"#{run.run}", run.attempt, run.stage, run.phase)
            + (
                (
                    f"{reserved.cpus:g}",
                    size_text(reserved.memory),
                    ", ".join(map(str, hardware.places(reserved.gpus))),
                )
                if reserved is not None
                else ("", "", "")
            )
            for run, reserved in held
        ]
        put_table(("PROJECT", "RUN", "ATTEMPT", "STAGE", "PHASE", "CORES", "MEMORY", "GPUS"), rows)


@local_app.callback(invoke_without_command=True)
def local_(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Look at this machine's agent on the spot, without broker or store; exit code 1 when none runs."""
    if ctx.invoked_subcommand is None:
        local(ctx, output)


@local_app.command("files")
def local_files(
    ctx: typer.Context,
    project: Annotated[str, typer.Argument(help="its id, or how it begins", show_default=False)],
    run: Annotated[int, typer.Argument(metavar="RUN", help="the run's number", show_default=False)],
    path: Annotated[str, typer.Argument(metavar="PATH", help="a folder or a file")] = "",
    area: Annotated[Area, typer.Option("--area", help="which of its directories")] = Area.WORKSPACE,
    output: OutputOption = Format.TABLE,
) -> None:
    """List a run's files that are on this machine's disk. They are shown as its stage sees them now."""
    from winslow.placement import size_text
    from winslow_tui.facade.local_node import files

    found = files(config(ctx).settings.agent, project, run, path, area=area.value)
    for note in found.notes:
        say(note)
    if output is Format.JSON:
        put_json(
            [
                {"path": each.path, "kind": each.kind, "size": each.size, "target": each.target}
                for each in found.files
            ]
        )
        return
    rows = [
        (
            "" if each.kind == "dir" else size_text(each.size),
            each.path + ("/" if each.kind == "dir" else f" -> {each.target}" if each.target else ""),
        )
        for each in found.files
    ]
    put_table(("SIZE", "PATH"), rows)


def local(ctx: typer.Context, output: Format) -> None:
    """What `winslow node local` shows."""
    from winslow.placement import size_text
    from winslow_tui.facade.local_node import look

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


@app.command()
def drain(
    ctx: typer.Context,
    node: NodeArgument,
    reason: Annotated[str, typer.Option("--reason", help="shown to everybody")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="return when nothing runs there any more")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="with --wait: seconds; exit code 1 after that")
    ] = None,
) -> None:
    """Give a node nothing new; what runs there finishes. It stays so, also over a restart, until undrain."""
    from winslow.errors import UsageError

    if timeout is not None and not wait:
        raise UsageError("--timeout stands for nothing without --wait", hint="add --wait")
    wishes = client(ctx).node_wishes
    wishes.drain(node, reason=reason)
    if wait:
        wishes.wait_drained(node, timeout=timeout)
        say(f"node {node} is drained")
    else:
        say(f"node {node} takes nothing new; winslow node undrain {node} takes that back")


@app.command()
def undrain(ctx: typer.Context, node: NodeArgument) -> None:
    """Let a node take part again."""
    client(ctx).node_wishes.undrain(node)
    say(f"node {node} takes part again")


@app.command()
def label(
    ctx: typer.Context,
    node: NodeArgument,
    labels: Annotated[
        list[str], typer.Argument(metavar="LABEL… LABEL-…", help="a label to give; LABEL- takes it away")
    ],
    output: OutputOption = Format.TABLE,
) -> None:
    """Give a node labels, or take given ones away. They stand beside those of its own configuration."""
    add = [each for each in labels if not each.endswith("-")]
    remove = [each[:-1] for each in labels if each.endswith("-")]
    found = client(ctx).node_wishes.label(node, add=add, remove=remove)
    if output is Format.JSON:
        put_json({"node": node, "labels": found})
    else:
        put(f"{node}: {', '.join(found) or 'no labels'}")


@app.command()
def forget(
    ctx: typer.Context,
    node: NodeArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Remove a node for good: what it had is lost at once. One that starts again comes back as a new node."""
    wishes = client(ctx).node_wishes
    wishes.check_forgettable(node)
    if not yes:
        held = ", ".join(map(str, wishes.held(node))) or "nothing"
        must_agree(f"Remove {node}, and give up what it has ({held})?", undone=f"{node} was not removed")
    for each in wishes.forget(node):
        say(f"{each} is lost; winslow explain {each.project} says what becomes of it")
    say(f"node {node} is removed")
