"""What the full-screen program finds around it: clocks, a person, a folder to keep things in, and the ways to a site.

A test or a picture gives its own, so that what is drawn depends on nothing else.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from winslow import terminal_text
from winslow.config import Config, state_folder
from winslow_tui.facade.client import Client
from winslow_tui.program.sitewatch import SiteWatch

if TYPE_CHECKING:
    from winslow_tui.program.activityfeed import ActivityFeed


def _now() -> datetime:
    return datetime.now(UTC)


def _person() -> str:
    host = terminal_text.line(socket.gethostname())
    try:
        return f"{terminal_text.line(getpass.getuser())}@{host}"
    except (OSError, KeyError):  # a user without a name
        return host


def _activity(config: Config, client: Client) -> ActivityFeed:
    from winslow_tui.program.activityfeed import ActivityFeed  # MQTT, for who looks at it

    return ActivityFeed(config, client)


@dataclass(frozen=True)
class Surroundings:
    """`clock` is monotonic seconds, `wall` the time for people, `person` who sits there, `state` where what the program
    remembers is kept. The others make what reaches a site; nothing is connected before they are asked to start."""

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = _now
    person: str = field(default_factory=_person)
    state: Path = field(default_factory=state_folder)
    client: Callable[[Config], Client] = Client
    watch: Callable[[Config, Client], SiteWatch] = SiteWatch
    activity: Callable[[Config, Client], ActivityFeed] = _activity
