"""Takes the README's pictures: the full-screen program on a real site that runs the demo's videos, as SVG.

make screenshots

The site is the demo's: a broker, a store and two agents of its own, on loopback, below a temporary directory. What is
seen is what the nodes did: some projects are done, some ask, fail or wait, and two work on a long video, which is one
of the demo's clips played over and over, while the pictures are taken. It takes a few minutes.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.waiting import wait_until
from winslow import config
from winslow.config import Config
from winslow.errors import WinslowError
from winslow.lifecycle import ProjectState, state_of
from winslow.project import Project
from winslow.store.files import Upload
from winslow_tui import demo
from winslow_tui.cli.up import say, wait_ready
from winslow_tui.facade import filing
from winslow_tui.facade.changes import Changes
from winslow_tui.facade.client import Client
from winslow_tui.site import Site

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from winslow_tui.program.app import WinslowApp

SIZE = (126, 30)
FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
PERSON = "anna"
LONG_SECONDS = 300.0  # what a node shall need for the long video
BEGUN_PERCENT, SEEN_PERCENT = 13, 30  # of it: where its log is looked at, and the list of projects
MEASURED_SECONDS = 60
AGENTS = 2
PATIENCE = 900.0  # seconds for any one thing
CHECKED = "traffic-checked"
DRAWN = "trajectories.png"
LOOP = """\
import sys, cv2
source, target, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
frames, clip = [], cv2.VideoCapture(source)
while (read := clip.read())[0]:
    frames.append(read[1])
height, width = frames[0].shape[:2]
made = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), clip.get(cv2.CAP_PROP_FPS), (width, height))
for _ in range(times):
    for frame in frames:
        made.write(frame)
made.release()
"""


@dataclass
class Story:
    """What happens on the site before and while the pictures are taken; projects by what they are called there."""

    client: Client
    env: Mapping[str, str]  # of the demo's own projects: weights and calibration
    ids: dict[str, str] = field(default_factory=dict)

    def project(self, name: str) -> Project:
        """As it is now."""
        return self.client.project(self.ids[name])

    def make(self, name: str, *tags: str, video: str, pipeline: str = "traffic") -> None:
        """A project of a person."""
        env = {**self.env, "VIDEO": f"res:traffic/{video}"}
        self.ids[name] = self.client.projects.create(name, pipeline=pipeline, tags=tags, env=env).id

    def start(self, name: str, *, stage: str | None = None, **changes: str) -> None:
        """Begin, with a changed environment."""
        self.client.runs.start(self.ids[name], stage=stage, changes=Changes(env=changes))

    def until(self, name: str, *states: ProjectState) -> None:
        """Wait until it is in one of these states."""
        say(f"  {name} …")
        what = f"{name} in one of {', '.join(states)}"
        wait_until(lambda: state_of(self.project(name))[0] in states, seconds=PATIENCE, what=what)

    def begin(self) -> None:
        """Everything that is over when the pictures are taken."""
        done, asks = ProjectState.SUCCEEDED, ProjectState.NEEDS_YOU
        for name in ("cyclist", "truck"):
            self.start(name)
        self.until("cyclist", done)
        self.until("truck", done)
        self.client.runs.redo(
            self.ids["cyclist"],
            1,
            changes=Changes(env={"CONFIDENCE": "0.6"}, single=True, comment="fewer doubts"),
        )
        self.make("School street", "school", "2026", video="cars-cyclist.mp4", pipeline=CHECKED)
        self.start("School street")
        self.until("School street", asks)
        self.until("cyclist", ProjectState.PAUSED)
        self.make("Night shift", "night", video="yolov3-tiny.weights")  # which is none: the stage fails
        self.start("Night shift")
        self.until("Night shift", ProjectState.FAILED)
        self.make("Old bridge", "bridge", "2026", video="cars-truck.mp4")

    def seconds(self, name: str, n: int) -> float:
        """How long a run took."""
        run = self.project(name).run(n)
        attempt = run.attempt if run else None
        assert attempt is not None and attempt.started_at and attempt.ended_at
        began, ended = map(datetime.fromisoformat, (attempt.started_at, attempt.ended_at))
        return (ended - began).total_seconds()

    def go_on(self) -> None:
        """What is under way in the pictures."""
        self.make("Roundabout", "ulm", "2026", video="rush-hour.mp4")
        self.make("Motorway ramp", "a8", video="rush-hour.mp4")
        self.start("truck", stage="detect", VIDEO="res:traffic/rush-hour.mp4")
        self.start("Roundabout")
        self.until("truck", ProjectState.RUNNING)
        self.until("Roundabout", ProjectState.RUNNING)
        self.client.runs.enqueue(self.ids["truck"], stage="analyse", changes=Changes())
        self.start("Motorway ramp")

    def end(self) -> None:
        """Stop what still runs or waits."""
        for name in self.ids:
            if self.project(name).active:
                self.client.runs.abort(self.ids[name])
        wait_until(
            lambda: not any(self.project(name).active for name in self.ids), seconds=60.0, what="the end"
        )


async def take(story: Story, site: Config, *, under_way: bool) -> None:
    """The pictures of what is under way, or of what is over, one after the other."""
    from winslow_tui.program.app import WinslowApp
    from winslow_tui.program.surroundings import Surroundings

    with tempfile.TemporaryDirectory() as state:
        app = WinslowApp(lambda: site, around=Surroundings(person=f"{PERSON}@lab", state=Path(state)))
        async with app.run_test(size=SIZE) as pilot:
            photographer = Photographer(story, app, pilot)
            await (photographer.under_way() if under_way else photographer.over())


@dataclass
class Photographer:
    """Who presses the keys and looks at what is there."""

    story: Story
    app: WinslowApp
    pilot: Pilot[None]

    async def under_way(self) -> None:
        """See the module. The log comes first, as long as its beginning is on the screen."""
        truck = self.story.ids["truck"]
        await self.until(lambda: len(self.app.site.projects) == len(self.story.ids), "all projects")
        await self.until(lambda: self.percent(truck) >= BEGUN_PERCENT, f"{BEGUN_PERCENT} % of the long video")
        self.app.open_project(truck)
        await self.reads("claimed by")
        await self.press("tab", "w")
        await self.picture("project", "following", "frame", "#4", "running")
        await self.press("4")
        await self.until(self.measured, f"{MEASURED_SECONDS} s of curves")
        await self.picture("metrics", "at most", height=26)
        await self.press("escape")
        await self.until(lambda: self.percent(truck) >= SEEN_PERCENT, f"{SEEN_PERCENT} % of the long video")
        await self.picture("projects", "needs you", "failed", "running", "waiting", height=16)
        await self.press("2")
        await self.until(lambda: len(self.app.site.samples) == AGENTS, "a sample of each node")
        await self.picture("nodes", "ws1", "ws2", "online", height=10)

    async def over(self) -> None:
        """What is shown of a project whose runs have ended."""
        from winslow_tui.widgets.browser import Browser

        await self.until(lambda: len(self.app.site.projects) == len(self.story.ids), "all projects")
        self.app.open_project(self.story.ids["cyclist"])
        await self.reads("#4", "succeeded")
        await self.press("space", "j", "j", "space", "c")
        await self.picture("compare", "env CONFIDENCE", "result detections", height=26)
        await self.press("escape", "2", "j", "enter")
        await self.reads("output/", DRAWN)
        self.app.screen.query_one(Browser).table.put_cursor(f"{self.story.ids['cyclist']}:output/{DRAWN}")
        await self.picture("files", "summary.json", "workspace of detect", height=22)
        await self.press("enter")
        await self.picture("preview", "PNG", "pixels", height=36)
        await self.press("escape", "escape")
        self.app.open_project(self.story.ids["Old bridge"])
        await self.reads("no run yet")
        await self.press("s")
        await self.picture("start", "Start Old bridge", "workspace from", "VIDEO", height=26)
        await self.press("escape", "escape")

    def measured(self) -> bool:
        """Whether the curves go back far enough."""
        found = re.search(r"over (?:(\d+) min\b ?)?(?:(\d+) s\b)?", self.sees())
        return found is not None and 60 * int(found[1] or 0) + int(found[2] or 0) >= MEASURED_SECONDS

    def percent(self, project: str) -> float:
        """How far a project's run is."""
        row = self.app.site.projects.get(project)
        return row.percent or 0.0 if row else 0.0

    def sees(self) -> str:
        """Every line of the screen."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    async def press(self, *keys: str) -> None:
        """Keys, and what is read after each."""
        for key in keys:
            await self.pilot.press(key)
            await self.quiet()

    async def quiet(self) -> None:
        """Nothing is being read, and nothing waits to be drawn."""
        await self.pilot.pause(0.3)
        await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """The program goes on until that holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not condition():
            if loop.time() > deadline:
                raise WinslowError(f"{what} never came; the screen:\n{self.sees()}")
            await self.pilot.pause(0.2)

    async def reads(self, *texts: str) -> None:
        """Until all of them can be read."""
        await self.until(lambda: all(text in self.sees() for text in texts), f"{texts}")

    async def picture(self, name: str, *texts: str, height: int = SIZE[1]) -> None:
        """Write it once these texts can be read. Raises WinslowError where it would show this machine."""
        await self.pilot.resize_terminal(SIZE[0], height)
        await self.reads(*texts)
        await self.quiet()
        drawn = self.app.export_screenshot()
        told = [
            each for each in (socket.gethostname(), str(Path.home()), tempfile.gettempdir()) if each in drawn
        ]
        if told:
            raise WinslowError(f"{name}: this machine can be seen in it: {', '.join(told)}")
        (FOLDER / f"{name}.svg").write_text(drawn)
        await self.pilot.resize_terminal(*SIZE)
        say(f"  {name}.svg")


def lengthen(clip: Path, target: Path, times: int, env: Mapping[str, str]) -> None:
    """Make a long video from a short one, by what the stages read it with."""
    program = shutil.which("python3", path=env["PATH"]) or "python3"
    command = [program, "-c", LOOP, str(clip), str(target), str(times)]
    subprocess.run(command, env={**os.environ, **env}, check=True)


def main() -> None:
    """See the module."""
    os.environ |= {"LOGNAME": PERSON, "TEXTUAL_ANIMATIONS": "none"}
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for name in ("NO_COLOR", "SSH_CONNECTION", "WINSLOW_CONFIG"):
        os.environ.pop(name, None)
    materials = demo.fetch_materials(say)
    means = demo.choose_means("process", say)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        clip = materials.files["clip-truck"][0]
        site = Site(where / "site", agents=AGENTS, runtime=means.runtime, say=say)
        try:
            site.start()
            wait_ready(site)
            found = config.load(environ={"WINSLOW_CONFIG": str(site.config)})
            found = replace(found, settings=found.settings.model_copy(update={"site_env": means.env}))
            client = Client(found)
            projects = demo.prepare(client, materials, replace(means, env={}), say)
            text = (demo.example() / "pipeline.yaml").read_text()
            asking = text.replace("name: traffic\n", f"name: {CHECKED}\n")
            client.pipelines.apply(
                asking.replace("  - name: analyse\n", "  - name: analyse\n    confirmation: always\n"),
                source="",
            )
            env = {name: value for name, value in projects[0].env.items() if name != "VIDEO"}
            story = Story(client, env, {project.name: project.id for project in projects})
            try:
                story.begin()
                times = max(3, round(LONG_SECONDS / story.seconds("truck", 1)))
                lengthen(clip, where / "rush-hour.mp4", times, means.env)
                upload = Upload(path=where / "rush-hour.mp4", key="resources/traffic/rush-hour.mp4")
                filing.upload(client.store, [upload], lambda _count: None)
                asyncio.run(take(story, found, under_way=False))
                story.go_on()
                asyncio.run(take(story, found, under_way=True))
            finally:
                story.end()
        finally:
            site.stop()


if __name__ == "__main__":
    main()
