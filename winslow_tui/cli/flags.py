"""What stands before a command, and the configuration that it makes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winslow.config import Config


@dataclass(frozen=True)
class Flags:
    """What stood before the command; None where a flag was not given."""

    config: str | None = None
    site: str | None = None
    broker: str | None = None
    store: str | None = None


def configured(given: Flags) -> Config:
    """The configuration with these flags. Raises InvalidInput."""
    from winslow.config import load

    environ = dict(os.environ) | ({"WINSLOW_CONFIG": given.config} if given.config else {})
    return load(
        flags={"site": given.site, "broker.url": given.broker, "store.url": given.store},
        environ=environ,
        personal=True,
    )
