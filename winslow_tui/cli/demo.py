"""`winslow demo`: everything at once, on real video."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from winslow import config
from winslow.errors import WinslowError
from winslow_tui import demo as steps
from winslow_tui.cli.up import TEND_SECONDS, say, surroundings, wait_ready
from winslow_tui.facade.client import Client
from winslow_tui.site import Site, stop_signals

AGENTS = 2


def default_directory() -> Path:
    """The demo's own site, apart from the user's."""
    from platformdirs import user_data_path

    return user_data_path("winslow") / "demo"


def demo(*, directory: Path | None, headless: bool, runtime: str) -> None:
    """Run the example to its end. Headless it ends then; else the site stays up until ctrl+c.

    Raises WinslowError where a project did not succeed.
    """
    headless = headless or not sys.stderr.isatty()
    stopping = threading.Event()
    where = (directory or default_directory()).resolve()
    say("1. what the demo works on")
    materials = steps.fetch_materials(say)
    say("2. how stages run")
    means = steps.choose_means(runtime, say)
    say(f"   runtime: {means.runtime} ({means.reason})")
    if not materials.clips:
        materials = steps.synthetic_clip(means, say)
    say(f"3. a site with {AGENTS} agents in {where}")
    site = Site(where, agents=AGENTS, runtime=means.runtime, say=say)
    try:
        site.start()
        wait_ready(site)
        settings = config.load(environ={"WINSLOW_CONFIG": str(site.config)})
        client = Client(settings, say=say)
        say("4. pipeline, resources, projects")
        projects = steps.prepare(client, materials, means, say)
        say("5. the nodes bid for each stage, the cheapest claims it")
        ended = steps.run(settings, client, projects, headless=headless, say=say)
        succeeded = steps.summarise(client, ended, where / "results", say)
        _how_to_go_on(site, ended[0].id, headless=headless)
        if not succeeded:
            raise WinslowError(
                "a project of the demo did not succeed", hint=f"winslow logs {ended[0].id} shows why"
            )
        if not headless:
            stop_signals(stopping.set)
            while not stopping.wait(TEND_SECONDS):
                site.tend()
    finally:
        site.stop()


def _how_to_go_on(site: Site, project: str, *, headless: bool) -> None:
    say(
        "\nhow to go on"
        if headless
        else "\nhow to go on: the site stays up until ctrl+c; in another terminal"
    )
    for line in surroundings(site):
        say(f"  {line}")
    if headless:
        say(f"  winslow up --dir {site.directory} --agents {AGENTS} &     # start this site again")
    say("  winslow project list")
    say(f"  winslow runs {project}")
    say(f"  winslow logs {project} 1")
    say(f"  winslow start {project} --stage analyse --comment 'once more'")
    say(f"  winslow files ls {project}:output/")
