"""Broker, store, and both go away and come back while each screen is shown, on real servers: nothing hangs, what was
known stays with its age, and everything catches up."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from pathlib import Path

from broker.embedded import BrokerKind
from tests import screens
from tests.conftest import BrokerFactory, StoreFactory
from tests.screen_person import Patient
from tests.services.servers import BrokerService, Server, StoreService
from winslow.config import Config, load
from winslow_tui.app import WinslowApp
from winslow_tui.client import Client
from winslow_tui.sitewatch import SiteWatch
from winslow_tui.surroundings import Surroundings

VIEWS = {
    "1": "ulm-",
    "2": "no node yet",
    "3": "north.txt",
    "4": "busybox",
    "5": "created",
    "project": "no run yet",
}


def config_of(folder: Path, broker: BrokerService, store: StoreService) -> Config:
    path = folder / "config.toml"
    path.touch(mode=0o600)
    path.write_text(
        f'site = "t{secrets.token_hex(4)}"\n[broker]\nurl = "{broker.url}"\n[store]\n'
        f'url = "{store.endpoint}/{store.bucket}"\naccess_key = "{store.access_key}"\n'
        f'secret_key = "{store.secret_key}"\n'
    )
    return load(environ={"WINSLOW_CONFIG": str(path)})


def _begun(other: Client) -> str:
    """A pipeline, a file, and a project; its id."""
    other.pipelines.apply("name: hello\nstages:\n  - {name: hi, image: busybox}\n", source="hello")
    other.store.put("resources/north.txt", b"x")
    return other.projects.create("Ulm", pipeline="hello").id


def _called(app: WinslowApp, project: str, name: str) -> bool:
    return app.site.projects[project].summary.name == name


async def test_servers_go_and_come_back_under_every_screen(
    tmp_path: Path, broker_factory: BrokerFactory, store_factory: StoreFactory
) -> None:
    broker, store = broker_factory(BrokerKind.MOSQUITTO), store_factory("seaweedfs")
    config = config_of(tmp_path, broker, store)
    other = Client(config)  # somebody else, whose commands the screen hears of
    project = await asyncio.to_thread(_begun, other)
    around = Surroundings(state=tmp_path, watch=lambda config, client: SiteWatch(config, client, every=0.5))
    app = WinslowApp(lambda: config, around=around)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(project, "● broker", "● store")
        for number, (view, text) in enumerate(VIEWS.items()):
            if view == "project":
                app.open_project(project)
            else:
                await anna.press(view)
            await anna.reads(text)
            gone: tuple[tuple[str, Server], ...] = (("broker", broker), ("store", store))
            for name, server in gone if view in ("1", "project") else gone[number % 2 :][:1]:
                await asyncio.to_thread(server.kill)
                await anna.reads(f"✗ {name} away", text)
            await anna.press("j", "k")
            await anna.press("question_mark", "escape")
            await anna.reads("away", text)
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(store.start)
            await anna.reads("● broker", "● store", text)
            name = f"Ulm {number}"
            await asyncio.to_thread(other.projects.rename, project, name)
            await anna.until(partial(_called, app, project, name), "what happened meanwhile")
            if view == "project":
                await anna.reads(f"{name} · pipeline hello")
