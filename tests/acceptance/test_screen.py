"""A new user's first day with the full-screen program, by keys alone, in a real terminal over a real ssh."""

from __future__ import annotations

import fcntl
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.acceptance.fleet import MIB, Fleet
from tests.conftest import missing
from tests.faults.link import Link
from tests.services.installation import find_program
from tests.services.terminal import PATIENCE, Terminal, terminals
from tests.services.waiting import wait_until
from winslow.errors import NotFound
from winslow.project import RunState
from winslow.store import layout

PIPELINE = """\
name: traffic
env: {{CONF: "0.35"}}
stages:
  - name: detect
    image: {image}
    command: [sh, -c, 'for n in 1 2 3 4 5 6 7 8 9 10; do echo "frame $n of 10, $((n * 10)) %"; sleep 0.4; done']
    requires: {{cpus: 0.5, memory: 64MiB}}
  - name: clean
    image: {image}
    command: [sh, -c, 'echo "$THRESHOLD of $CONF" > $WINSLOW_DIR_OUTPUT/cars.csv; echo "WINSLOW_RESULT: cars=12"']
    require_env: [THRESHOLD]
    requires: {{cpus: 0.5, memory: 64MiB}}
"""
VIDEO_BYTES = 500 * MIB


@pytest.mark.parametrize(
    ("width", "height", "loses"), [(80, 24, False), (140, 45, True)], ids=["80x24", "140x45"]
)
def test_a_first_day_by_keys_alone(
    fleet: Fleet, tmp_path: Path, width: int, height: int, loses: bool
) -> None:
    """On the large one the connection is lost in the middle of the upload, which goes on with the next start."""
    for program in ("sshd", "tmux"):
        if find_program(program) is None:
            missing(f"{program} is not installed")
    fleet.agent().start().online()
    (tmp_path / "traffic.yaml").write_text(PIPELINE.format(image=fleet.image))
    with (tmp_path / "north.mp4").open("wb") as video:
        video.truncate(VIDEO_BYTES)
    day = Day(fleet, Link(fleet.config.settings.store.url), tmp_path)
    with terminals(tmp_path, day.command) as opened, closing(day.link):
        screen = opened(width, height)
        screen.reads("no project yet: n makes one", "● broker", "● store", "1 node")
        _pipeline(screen, tmp_path / "traffic.yaml")
        project = _project(screen, fleet)
        _begin_upload(screen, day, project)
        percents = [_percent(screen, but=set())]
        percents.append(_later(screen, day, percents, 100 * MIB))
        if loses:
            _lose(screen, day, project)
            screen = opened(width, height)
            _go_on(screen, day)
            percents.append(_percent(screen, but=set(percents)))
        else:
            percents.append(_later(screen, day, percents, 100 * MIB))
        _end_upload(screen, day, project)
        if loses:
            _find_again(screen, project)
        screen.reads(day.file.name, "500 MiB")
        _run(screen, fleet, project)
        _answer(screen, fleet, project)
        _redo_and_compare(screen, fleet, project)
        _download(screen, tmp_path / "results")
        _drain(screen, fleet)
        _delete(screen, fleet, project)
        screen.press("q")
        screen.ends()


@dataclass(frozen=True)
class Day:
    """What it is about: a site, the way from the person's machine to its store, and their folder."""

    fleet: Fleet
    link: Link
    folder: Path

    @property
    def file(self) -> Path:
        """What is uploaded."""
        return self.folder / "north.mp4"

    @property
    def state(self) -> Path:
        """What the program keeps between starts."""
        return self.folder / "state"

    def running(self) -> list[psutil.Process]:
        """The program, while it runs."""
        found = psutil.process_iter(["environ"])
        return [
            each for each in found if (each.info["environ"] or {}).get("XDG_STATE_HOME") == str(self.state)
        ]

    @property
    def command(self) -> Sequence[str]:
        """The program as the person starts it on their machine."""
        config = self.folder / "config.toml"
        config.touch(mode=0o600)
        text = (self.fleet.folder / "client.toml").read_text()
        config.write_text(text.replace(self.fleet.config.settings.store.url, self.link.url))
        return [
            "env", f"WINSLOW_CONFIG={config}", f"XDG_STATE_HOME={self.state}",
            str(Path(sys.executable).with_name("winslow")),
        ]  # fmt: skip


def _pipeline(screen: Terminal, file: Path) -> None:
    screen.press("4", "A")
    screen.reads("Apply a pipeline")
    screen.type(str(file))
    screen.press("Enter")
    screen.reads("traffic revision 1", "require_env")
    screen.press("1")


def _project(screen: Terminal, fleet: Fleet) -> str:
    screen.press("n")
    screen.reads("New project", "traffic")
    screen.type("Ulm crossing")
    screen.press("Enter")
    screen.reads("Ulm crossing · pipeline traffic (rev 1)", "no run yet: s starts")
    (project,) = (each for each in fleet.client.documents.project_etags())
    return project


def _begin_upload(screen: Terminal, day: Day, project: str) -> None:
    """Begin it over a link that lets a part of it through and then holds it."""
    screen.press("2")
    screen.reads("what was uploaded for it")
    screen.press("Enter")
    screen.reads(f"{project}:input/", "nothing here")
    screen.press("u")
    screen.reads("file or folder here")
    screen.type(str(day.file))
    day.link.hold(100 * MIB)
    screen.press("Enter")
    screen.reads("on its way")
    screen.press("T")


def _later(screen: Terminal, day: Day, before: Sequence[int], more: int) -> int:
    """The percentage once so many more bytes have gone."""
    day.link.hold(more)
    return _percent(screen, but=set(before))


def _percent(screen: Terminal, *, but: set[int]) -> int:
    """How much of the upload is shown to be there, once that is something new, and neither nothing nor all."""
    percents: list[int] = []

    def shown(seen: str) -> bool:
        found = map(int, re.findall(r"[█░]+ +(\d+)%", seen))
        percents[:] = [each for each in found if 0 < each < 100 and each not in but]
        return bool(percents)

    screen.until(shown, what=f"a percentage other than {but}", seconds=2 * PATIENCE)
    return percents[0]


def _lose(screen: Terminal, day: Day, project: str) -> None:
    """The connection breaks: the program ends by itself, and nothing is there that is half a file."""
    (held,) = (day.state / "winslow" / "transfers").glob("[!.]*/held")
    screen.close()

    def left() -> bool:
        with held.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    wait_until(left, seconds=60.0, what="the transfer is left to the next start")
    day.link.release()
    key = layout.project_input(project, day.file.name)
    wait_until(lambda: not day.running(), seconds=60.0, what="the program's end")
    with pytest.raises(NotFound):
        day.fleet.store.stat(key)


def _go_on(screen: Terminal, day: Day) -> None:
    """Take it up where it was cut off, over a link that holds it before its end."""
    screen.reads("1 node")
    screen.press("T")
    screen.reads("‖ stopped", day.file.name)
    day.link.hold(20 * MIB)
    screen.press("r")


def _end_upload(screen: Terminal, day: Day, project: str) -> None:
    day.link.release()
    screen.reads("✓ done", seconds=2 * PATIENCE)
    assert day.fleet.store.stat(layout.project_input(project, day.file.name)).size == VIDEO_BYTES
    screen.press("Escape")


def _find_again(screen: Terminal, project: str) -> None:
    screen.reads(project, "2 Nodes  3 Files")
    screen.press("Enter")
    screen.reads("no run yet: s starts")
    screen.press("2")
    screen.reads(
        "what was uploaded for it", "← fold"
    )  # the tab was left so; the hint says that it has the keys
    screen.press("Enter")


def _run(screen: Terminal, fleet: Fleet, project: str) -> None:
    screen.press("1", "s")
    screen.reads("Start Ulm crossing", "CONF (pipeline)")
    screen.press("C-s")
    screen.reads("● running", "frame 1 of 10")
    screen.press("p")
    screen.reads("pauses")
    screen.reads("✓ succeeded", "frame 10 of 10")
    wait_until(lambda: not fleet.document(project).active, seconds=30.0)
    assert [run.stage.name for run in fleet.document(project).runs] == ["detect"], "it was paused"


def _answer(screen: Terminal, fleet: Fleet, project: str) -> None:
    screen.press("s")
    screen.reads("THRESHOLD (needed)")
    screen.press("C-s")
    screen.reads("? stage 'clean' needs THRESHOLD: enter answers")
    screen.press("Enter")
    screen.reads("tab next")
    screen.type("0.7")
    screen.press("Enter")
    assert fleet.wait_state(project, RunState.SUCCEEDED, n=2).env["THRESHOLD"].value == "0.7"
    screen.reads("#2   clean", "detect ✓ → clean ✓")


def _redo_and_compare(screen: Terminal, fleet: Fleet, project: str) -> None:
    screen.press("G", "r")
    screen.reads("Redo run #1 (detect)", "CONF")
    screen.type("0.5")
    screen.press("C-s")
    assert fleet.wait_state(project, RunState.SUCCEEDED, n=3).env["CONF"].value == "0.5"
    screen.reads("#3   detect")
    wait_until(lambda: not fleet.document(project).active, seconds=60.0)
    screen.press("G", "Space")
    runs = len(fleet.document(project).runs)
    screen.press("g", *["j"] * (runs - 3), "Space", "c")
    screen.reads("run #1 and run #3", "env CONF", "0.35 (pipeline)", "0.5 (run)")
    screen.press("q")
    screen.until(lambda seen: "run #1 and run #3" not in seen, what="the page's end")


def _download(screen: Terminal, into: Path) -> None:
    screen.press("2")
    screen.reads("north.mp4")  # where it was left
    screen.press("g", "Left")
    screen.until(lambda seen: "north.mp4" not in seen, what="the fold")
    screen.press("j", "Right")
    screen.reads("cars.csv")
    screen.press("j", "d")
    screen.reads("output/cars.csv", "into the folder")
    screen.type(str(into))
    screen.press("Enter")
    wait_until(lambda: (into / "cars.csv").exists(), what="the download")
    assert (into / "cars.csv").read_text() == "0.7 of 0.35\n"


def _drain(screen: Terminal, fleet: Fleet) -> None:
    screen.press("Escape")
    screen.reads("PROJECT", "STATE")
    screen.press("2")
    screen.reads("● online")
    screen.press("D")
    screen.reads("◐ draining")
    assert fleet.nodes()["ws1"].presence == "draining"
    screen.press("D")
    screen.reads("● online")


def _delete(screen: Terminal, fleet: Fleet, project: str) -> None:
    screen.press("1")
    screen.reads(project)
    screen.press("D")
    screen.reads("type Ulm crossing to go on")
    screen.type("Ulm crossing")
    screen.press("Enter")
    screen.reads("no project yet")
    wait_until(
        lambda: not list(fleet.store.walk(layout.project(project))), seconds=60.0, what="its files' end"
    )
