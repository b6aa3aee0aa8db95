"""A new user's first day with the full-screen program, by keys alone, in a real terminal over a real ssh."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.acceptance.fleet import Fleet
from tests.conftest import missing
from tests.services.installation import find_program
from tests.services.terminal import Terminal, terminal
from tests.services.waiting import wait_until
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
VIDEO_BYTES = 500 << 20


def test_a_first_day_by_keys_alone(fleet: Fleet, tmp_path: Path) -> None:
    for program in ("sshd", "tmux"):
        if find_program(program) is None:
            missing(f"{program} is not installed")
    fleet.agent().start().online()
    (tmp_path / "traffic.yaml").write_text(PIPELINE.format(image=fleet.image))
    with (tmp_path / "north.mp4").open("wb") as video:
        video.truncate(VIDEO_BYTES)
    remote = [
        "env", f"WINSLOW_CONFIG={fleet.folder / 'client.toml'}", f"XDG_STATE_HOME={tmp_path / 'state'}",
        str(Path(sys.executable).with_name("winslow")),
    ]  # fmt: skip
    with terminal(tmp_path, remote) as screen:
        screen.reads("no project yet: n makes one", "● broker", "● store", "1 node")
        _pipeline(screen, tmp_path / "traffic.yaml")
        project = _project(screen, fleet)
        _upload(screen, fleet, project, tmp_path / "north.mp4")
        _run(screen, fleet, project)
        screen.resize(140, 45)
        _answer(screen, fleet, project)
        _redo_and_compare(screen, fleet, project)
        _download(screen, tmp_path / "results")
        _drain(screen, fleet)
        _delete(screen, fleet, project)
        screen.press("q")
        screen.ends()


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


def _upload(screen: Terminal, fleet: Fleet, project: str, file: Path) -> None:
    screen.press("2")
    screen.reads("what was uploaded for it")
    screen.press("Enter")
    screen.reads(f"{project}:input/")
    screen.press("u")
    screen.reads("file or folder here")
    screen.type(str(file))
    screen.press("Enter")
    screen.reads("on its way")
    screen.press("T")
    percents: set[str] = set()

    def done(seen: str) -> bool:
        percents.update(re.findall(r"[█░]+ +(\d+)%", seen))
        return "✓  done" in seen

    screen.until(done, what="the upload")
    assert len(percents) >= 3 and percents - {"0", "100"}, percents
    assert fleet.store.stat(layout.project_input(project, file.name)).size == VIDEO_BYTES
    screen.press("Escape")
    screen.reads(file.name, "500 MiB")


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
    screen.press("BSpace")
    screen.reads("what was uploaded for it")
    screen.press("g", "j", "Enter")
    screen.reads(":output/", "cars.csv")
    screen.press("d")
    screen.reads("into the folder")
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
