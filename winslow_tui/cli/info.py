"""`winslow info`: every setting and where it comes from."""

from __future__ import annotations

import typer

from winslow_tui.cli.context import OutputOption, config
from winslow_tui.cli.output import Format, put, put_json, put_table


def info(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show the version and every setting with its origin. Secrets are masked."""
    from importlib import metadata

    from winslow.config import state_folder, user_file

    found = config(ctx)
    version = metadata.version("winslow")
    path = str(found.path or user_file())
    if output is Format.JSON:
        settings = {value.key: {"value": value.shown, "origin": value.origin} for value in found.values()}
        put_json(
            {
                "version": version,
                "file": path,
                "file_exists": found.path is not None,
                "state_folder": str(state_folder()),
                "settings": settings,
            }
        )
        return
    put(f"winslow {version}")
    put(f"configuration file {path}" + ("" if found.path else " (not there)"))
    put(f"drafts of edited texts {state_folder() / 'drafts'}")
    put(f"the screen's own log {state_folder() / 'screen.log'}")
    put(f"filters, colours and tabs of the screen {state_folder() / 'screen.json'}")
    put(f"transfers that can go on {state_folder() / 'transfers'}")
    put("")
    put_table(
        ("SETTING", "VALUE", "ORIGIN"), [(value.key, value.shown, value.origin) for value in found.values()]
    )
