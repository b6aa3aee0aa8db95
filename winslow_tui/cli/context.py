"""The flags that every command has, and what is made from them when a command needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from winslow_tui.cli.output import say

if TYPE_CHECKING:
    from winslow.config import Config
    from winslow_tui.facade.client import Client


@dataclass(frozen=True)
class Flags:
    """What stood before the command; None where a flag was not given."""

    config: str | None = None
    site: str | None = None
    broker: str | None = None
    store: str | None = None


def flags(ctx: typer.Context) -> Flags:
    """The flags of this call."""
    found = ctx.find_object(Flags)
    return found or Flags()


def config(ctx: typer.Context) -> Config:
    """The configuration in force. Raises InvalidInput."""
    return configured(flags(ctx))


def configured(given: Flags) -> Config:
    """The configuration with these flags. Raises InvalidInput."""
    import os

    from winslow.config import load

    environ = dict(os.environ) | ({"WINSLOW_CONFIG": given.config} if given.config else {})
    return load(
        flags={"site": given.site, "broker.url": given.broker, "store.url": given.store},
        environ=environ,
        personal=True,
    )


def client(ctx: typer.Context) -> Client:
    """The facade, which opens store and broker when they are needed."""
    from winslow_tui.facade.client import Client

    return Client(config(ctx), say=say)
