"""`winslow up`: a site on this machine, in the foreground."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

from winslow.errors import WinslowError
from winslow_tui.site import READY_SECONDS, Site, stop_signals

TEND_SECONDS = 1.0
_LOOK_SECONDS = 0.1


def default_directory() -> Path:
    """Where a site lives when nothing else is said: the user's data folder (XDG)."""
    from platformdirs import user_data_path

    return user_data_path("winslow") / "site"


def say(text: str) -> None:
    """Narration goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def up(*, directory: Path | None, agents: int, runtime: str, ready_file: Path | None) -> None:
    """Start everything, write `ready_file` when all of it works, stay until a signal, stop everything."""
    stopping = threading.Event()
    stop_signals(stopping.set)
    site = Site(directory or default_directory(), agents=agents, runtime=runtime, say=say)
    try:
        site.start()
        wait_ready(site, stopping)
        if not stopping.is_set():
            for plan in site.plans:
                cores = f"{plan.cpus:g} core{'' if plan.cpus == 1 else 's'}"
                say(f"node    {plan.name}  {cores}, {plan.memory / (1 << 30):.1f} GiB")
            say("\nready. In another terminal:")
            for line in surroundings(site):
                say(f"  {line}")
            say("  winslow node list")
            say("ctrl+c stops it")
            if ready_file is not None:
                ready_file.write_text(f"{site.config}\n")
        while not stopping.wait(TEND_SECONDS):
            site.tend()
        say("stopping; stages that run go on, and the next `winslow up` on this directory picks them up")
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        site.stop()


def surroundings(site: Site) -> list[str]:
    """Lines for a shell in which `winslow` means this program and this site."""
    program = Path(sys.argv[0]).resolve()
    lines = [f"export WINSLOW_CONFIG={site.config}"]
    if shutil.which("winslow") is None and program.name == "winslow":
        lines.insert(0, f"export PATH={program.parent}:$PATH")
    return lines


def wait_ready(site: Site, stopping: threading.Event | None = None) -> None:
    """Return when every agent shows itself online on the broker. Raises WinslowError with an agent's last words."""
    from winslow import config
    from winslow.node import Presence
    from winslow_tui.facade.client import Client

    stopping = stopping or threading.Event()
    deadline = time.monotonic() + READY_SECONDS
    client = Client(config.load(environ={"WINSLOW_CONFIG": str(site.config)}), say=say)
    wanted = {plan.name for plan in site.plans}
    while not stopping.wait(_LOOK_SECONDS):
        online = {state.node for state in client.nodes.all() if state.presence is Presence.ONLINE}
        if wanted <= online:
            return
        failed = site.failed_agent()
        if failed:
            raise WinslowError(f"an agent did not start: {failed}")
        if time.monotonic() > deadline:
            raise WinslowError(
                f"not all agents were ready after {READY_SECONDS:.0f} s: {', '.join(sorted(wanted - online))}",
                hint=f"their logs are below {site.directory}/agents",
            )
