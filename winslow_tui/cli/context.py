"""What every command has: its flags and options, and what is made from them when a command needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.flags import Flags, configured
from winslow_tui.cli.output import Format, say

if TYPE_CHECKING:
    from winslow.config import Config
    from winslow_tui.facade.client import Client

OutputOption = Annotated[Format, typer.Option("--output", "-o", help="table for people, json for programs")]


def flags(ctx: typer.Context) -> Flags:
    """The flags of this call."""
    found = ctx.find_object(Flags)
    return found or Flags()


def config(ctx: typer.Context) -> Config:
    """The configuration in force. Raises InvalidInput."""
    return configured(flags(ctx))


def client(ctx: typer.Context) -> Client:
    """The facade, which opens store and broker when they are needed."""
    from winslow_tui.facade.client import Client

    return Client(config(ctx), say=say)
