"""`winslow keys`: what the keys of the full-screen program do, and by which names they can be changed."""

from __future__ import annotations

import typer

from winslow_tui.cli.context import OutputOption, config
from winslow_tui.cli.output import Format, put_json, put_table


def keys(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """List the keys of the full-screen program. Their names are those in [keys] of the configuration file."""
    from winslow_tui.program.keymap import Keymap, written
    from winslow_tui.screens.contexts import contexts

    found = config(ctx)
    keymap = Keymap.of(found, contexts())
    told = [
        {
            "name": action.name,
            "keys": [written(key) for key in keymap.keys(action.name)],
            "does": "; ".join(action.words),
            "origin": found.origins[f"keys.{action.name}"] if action.name in keymap.chosen else "default",
        }
        for action in sorted(keymap.actions.values(), key=lambda each: each.name)
    ]
    if output is Format.JSON:
        put_json(told)
        return
    put_table(
        ("NAME", "KEYS", "DOES", "ORIGIN"),
        [
            (f"{each['name']}", ", ".join(each["keys"]), f"{each['does']}", f"{each['origin']}")
            for each in told
        ],
    )
