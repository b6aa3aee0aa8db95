"""What keeps a person from a site, on real servers: each gets a sentence and a way out on the screen and on the command
line, and the program goes on by itself once the cause is gone."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from broker.embedded import BrokerKind, find_mosquitto
from tests import screens
from tests.conftest import BrokerFactory
from tests.screen_person import Patient
from tests.services.installation import find_program
from tests.services.servers import BrokerService, StoreService
from winslow.config import load
from winslow.store import layout
from winslow.store.daemon import LOOPBACK, Daemon, free_ports
from winslow_tui.cli import main
from winslow_tui.facade.client import Client
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import SiteWatch
from winslow_tui.program.surroundings import Surroundings

HELLO = "name: hello\nstages:\n  - {name: hi, image: busybox}\n"


@dataclass
class Locked:
    """A mosquitto that lets nobody in but anna, with a password that she does not know."""

    daemon: Daemon
    port: int
    users: Path

    def set_password(self, password: str) -> None:
        """As its operator does; it reads the file again."""
        _write_password(self.users, password)
        os.kill(self.daemon.pid, signal.SIGHUP)


def _write_password(users: Path, password: str) -> None:
    tool = find_program("mosquitto_passwd")
    assert tool
    subprocess.run([tool, "-b", str(users), "anna", password], check=True, capture_output=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=5.0).close()
    except OSError:
        return False
    return True


@pytest.fixture
def locked(mosquitto_broker: BrokerService, service_folder: Path) -> Iterator[Locked]:
    """Depends on `mosquitto_broker` only for its rule about a missing mosquitto."""
    program = find_mosquitto()
    assert program
    folder = service_folder / f"locked-{secrets.token_hex(4)}"
    folder.mkdir()
    (port,) = free_ports(1)
    users, settings = folder / "users", folder / "mosquitto.conf"
    users.touch(mode=0o600)
    _write_password(users, "another-one")
    settings.write_text(
        f"listener {port} {LOOPBACK}\nallow_anonymous false\npassword_file {users}\n"
        + ("user root\n" if os.geteuid() == 0 else "")
    )
    daemon = Daemon(name="mosquitto", command=[program, "-c", str(settings)], log=folder / "log")
    daemon.start()
    daemon.wait_until(lambda: _listens(port), seconds=20.0)
    yield Locked(daemon, port, users)
    daemon.stop()


class Place:
    """A person's machine: a configuration file, the program, and the command line."""

    def __init__(self, folder: Path, store: StoreService, broker_url: str, *, password: str = "") -> None:
        self.folder = folder
        self.file = folder / "config.toml"
        self.site = f"t{secrets.token_hex(4)}"
        self.store = store
        self.broker_url = broker_url
        self.password = password

    def write(self, *, mode: int = 0o600) -> None:
        """Say in the file what is known now."""
        login = f'username = "anna"\npassword = "{self.password}"\n' if self.password else ""
        beside = self.folder / "config.new"
        beside.touch(mode=0o600)
        beside.chmod(mode)
        beside.write_text(
            f'site = "{self.site}"\n[broker]\nurl = "{self.broker_url}"\n{login}[store]\n'
            f'url = "{self.store.endpoint}/{self.store.bucket}"\naccess_key = "{self.store.access_key}"\n'
            f'secret_key = "{self.store.secret_key}"\n'
        )
        beside.replace(self.file)

    def environ(self) -> dict[str, str]:
        """The environment in which the program is started."""
        found = {"XDG_CONFIG_HOME": str(self.folder / "none")}
        return found | ({"WINSLOW_CONFIG": str(self.file)} if self.file.exists() else {})

    def program(self) -> WinslowApp:
        """The full-screen program, here."""
        watch = lambda config, client: SiteWatch(config, client, every=0.3)  # noqa: E731  a short place for a factory
        return WinslowApp(
            lambda: load(environ=self.environ()), around=Surroundings(state=self.folder, watch=watch)
        )

    def client(self) -> Client:
        """The facade, for somebody else on the same site."""
        return Client(load(environ=self.environ()))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@dataclass
class Command:
    """The command line, in a person's place."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    async def says(self, place: Place, line: str, *texts: str, code: int) -> None:
        """The same cause, told by a command."""
        for name, value in place.environ().items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        given = await asyncio.to_thread(main.run, line.split())
        out, err = self.capsys.readouterr()
        assert given == code, (line, given, out, err)
        assert all(text in err for text in texts), err
        assert "Traceback" not in err


async def test_a_first_day_until_everything_is_set_right(
    tmp_path: Path, locked: Locked, s3_server: StoreService, command: Command
) -> None:
    """No file, one that others may read, a wrong password and a wrong key, no bucket: set right one by one."""
    right, bucket = s3_server, f"test-{secrets.token_hex(6)}"
    wrong = replace(right, bucket=bucket, secret_key="not-the-secret")
    place = Place(tmp_path, wrong, f"mqtt://{LOOPBACK}:{locked.port}", password="wrong-one")
    await command.says(place, "project list", "nothing says where the store is", "winslow up", code=2)
    await command.says(place, "node list", "nothing says where the broker is", "winslow up", code=2)
    place.write()
    await command.says(place, "project list", "access refused", "check the access key", code=5)
    await command.says(place, "node list", "refuses user 'anna'", "check the broker's user name", code=5)
    place.store = replace(right, bucket=bucket)
    place.write()
    await command.says(place, "project list", f"there is no bucket '{bucket}'", "create the bucket", code=5)
    place.file.unlink()
    place.store = wrong
    app = place.program()
    async with app.run_test(size=(150, 40), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads("winslow up", "broker and store are", "q leaves")
        place.write(mode=0o644)
        await anna.reads("holds secrets, and others on", "chmod 600")
        place.write()
        await anna.reads("✗ broker refuses", "✗ store refuses", "refuses user 'anna'", "access refused")
        await anna.reads("check the broker's user name", "check the access key", "nothing is known yet")
        for view in "23451":
            await anna.press(view)
            await anna.reads("refuses user 'anna'", "access refused", "check the access key")
        assert not app._notifications, "the frame says it: nothing is told a second time"
        place.store = replace(right, bucket=bucket)
        place.write()
        await anna.reads(f"there is no bucket '{bucket}'", "create the bucket", "refuses user 'anna'")
        await asyncio.to_thread(right.client().make_bucket, bucket)
        await anna.reads("● store", "✗ broker refuses", "no project yet")
        locked.set_password("wrong-one")
        await anna.reads("● broker", "● store", "no project yet")
        assert "refuses" not in anna.sees()
        other = place.client()
        await asyncio.to_thread(other.pipelines.apply, HELLO, source="hello")
        made = await asyncio.to_thread(lambda: other.projects.create("Ulm", pipeline="hello"))
        await anna.reads(made.id)


async def test_a_program_that_begins_without_a_broker_shows_the_stores_projects(
    tmp_path: Path, broker_factory: BrokerFactory, seaweedfs_store: StoreService, command: Command
) -> None:
    broker = broker_factory(BrokerKind.MOSQUITTO)
    place = Place(tmp_path, seaweedfs_store.with_new_bucket(), broker.url)
    place.write()
    other = place.client()
    await asyncio.to_thread(other.pipelines.apply, HELLO, source="hello")
    create = partial(other.projects.create, pipeline="hello")
    ulm, gone, a8 = [(await asyncio.to_thread(create, name)).id for name in ("Ulm", "Gone", "A8")]
    await asyncio.to_thread(broker.kill)
    await command.says(place, "node list", "no MQTT broker answers", "start it or check the address", code=5)
    app = place.program()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads("✗ broker away", "no MQTT broker answers", "● store", ulm, gone, a8)
        await asyncio.to_thread(other.projects.delete, gone)
        await asyncio.to_thread(other.projects.rename, a8, "A8 again")
        await anna.until(lambda: gone not in app.site.projects, "its end")
        await anna.until(lambda: app.site.projects[a8].summary.name == "A8 again", "its new name")
        await asyncio.to_thread(broker.start)
        await anna.reads("● broker", "● store", ulm, a8)
        assert gone not in anna.sees()


async def test_what_a_newer_winslow_wrote_is_named_and_read_once_it_can_be(
    tmp_path: Path, mosquitto_broker: BrokerService, seaweedfs_store: StoreService, command: Command
) -> None:
    """A project, a pipeline, and the site itself."""
    place = Place(tmp_path, seaweedfs_store.with_new_bucket(), mosquitto_broker.url)
    place.write()
    other = place.client()
    store = other.store
    await asyncio.to_thread(other.pipelines.apply, HELLO, source="hello")
    project = (await asyncio.to_thread(lambda: other.projects.create("Ulm", pipeline="hello"))).id
    newer = "written by a newer Winslow (schema 99"

    async def rewritten(key: str) -> bytes:
        """The object as it was; now it is of schema 99, and holds what nobody here knows."""
        before = (await asyncio.to_thread(store.get, key)).data
        data = json.dumps({**json.loads(before), "schema": 99}).encode()
        await asyncio.to_thread(store.put, key, data)
        return before

    document, head = layout.project_document(project), layout.pipeline_document("hello")
    kept = {key: await rewritten(key) for key in (document, head)}
    await asyncio.to_thread(store.put, layout.SITE, b'{"schema": 99, "id": "a-site-of-tomorrow"}')
    await command.says(place, f"project show {project}", newer, "install the newer version", code=1)
    await command.says(place, "pipeline show hello", newer, "install the newer version", code=1)
    app = place.program()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(
            "● broker", "✗ store unusable", "site.json", newer, "install the newer version", project
        )
        await asyncio.to_thread(store.put, layout.SITE, b'{"schema": 1, "id": "a-site-of-today"}')
        await anna.reads("● store", project)
        app.open_project(project)
        await anna.reads(document, newer, "install the newer version")
        await asyncio.to_thread(store.put, document, kept[document])
        await asyncio.to_thread(other.projects.rename, project, "Ulm again")
        await anna.reads("Ulm again · pipeline hello", "no run yet")
        await anna.press("escape", "4")
        await anna.reads(newer)
        await asyncio.to_thread(store.put, head, kept[head])
        await asyncio.to_thread(other.pipelines.apply, HELLO + "# more\n", source="hello")
        await anna.reads("image: busybox", "# more")
