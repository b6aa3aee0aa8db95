"""The demo: a site with two agents on this machine, real video, the traffic pipeline (`winslow demo`).

It uses what everybody uses: `Site` to start a site, the client facade for every command, and the broker's
topics for what is shown meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from winslow import address, terminal_text
from winslow.config import Config
from winslow.errors import WinslowError
from winslow.project import Project, RunState
from winslow_tui.facade.client import Client
from winslow_tui.shown.watching import Board, watch

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "traffic"
IMAGE = "winslow-traffic:1"
BASE_IMAGE = "python:3.12-slim"
STUCK_SECONDS = 1800.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Materials:
    """What could be had: local files by name, their resource addresses, and why others are missing."""

    files: dict[str, tuple[Path, str]]
    missing: dict[str, str]

    @property
    def clips(self) -> list[str]:
        """The names of the videos."""
        return [name for name in self.files if name.startswith("clip-")]


@dataclass(frozen=True)
class Means:
    """How stages run: the runtime's name, why not the other one, and what a project's environment needs for it."""

    runtime: str
    reason: str
    env: dict[str, str] = field(default_factory=dict)


class _File(BaseModel):
    path: Path
    resource: str


class _Fetched(BaseModel):
    """What fetch.py prints."""

    files: dict[str, _File]
    missing: dict[str, str]


class _Prepared(BaseModel):
    """What environment.py prints."""

    env: dict[str, str]


def cache_directory() -> Path:
    """Where clips, weights and the stages' packages are kept between demos (WINSLOW_TRAFFIC_CACHE, else XDG)."""
    named = os.environ.get("WINSLOW_TRAFFIC_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("winslow") / "traffic"


def example() -> Path:
    """The example's directory. Raises WinslowError where this installation has none."""
    if not (EXAMPLE / "pipeline.yaml").is_file():
        raise WinslowError(
            "the demo's pipeline is not here: it belongs to the source, not to the installed package",
            hint="clone the repository and run `make demo` there",
        )
    return EXAMPLE


def fetch_materials(say: Say) -> Materials:
    """Clips, calibration and weights, each checked by sha256; what cannot be had is said, not fatal."""
    told = _Fetched.model_validate_json(
        _output([sys.executable, str(example() / "fetch.py"), str(cache_directory())])
    )
    files = {name: (each.path, f"res:{each.resource}") for name, each in told.files.items()}
    for name, why in told.missing.items():
        say(f"  {name} cannot be had: {why}")
    if "weights" in told.missing:
        say("  without weights whatever moves is found by background subtraction, of unknown class")
    return Materials(files=files, missing=told.missing)


def choose_means(wanted: str, say: Say) -> Means:
    """docker, process, or for `auto` docker if the image is there or can be built, else process with the reason."""
    reason = "asked for"
    if wanted in ("auto", "docker"):
        problem = _docker_problem(say)
        if not problem:
            return Means(runtime="docker", reason="Docker works and the stages' image is there")
        if wanted == "docker":
            raise WinslowError(f"the docker runtime cannot be used: {problem}", hint="try --runtime process")
        reason = problem
    made = _Prepared.model_validate_json(_output(_environment_command()))
    return Means(runtime="process", reason=reason, env=made.env)


def _docker_problem(say: Say) -> str:
    if shutil.which("docker") is None:
        return "docker is not installed"
    if not _succeeds(["docker", "version"]):
        return "no Docker engine answers"
    there = _succeeds(["docker", "image", "inspect", IMAGE])
    base = os.environ.get("WINSLOW_DEMO_BASE_IMAGE", BASE_IMAGE)
    if not _succeeds(["docker", "image", "inspect", base]):
        if there:
            return ""
        say(f"   fetching the image {base} ...")
        if not _succeeds(["docker", "pull", "--quiet", base]):
            return f"{IMAGE} is not there, and {base}, from which it is built, cannot be pulled"
    # Also where an image is there: the engine's cache makes it quick, and changed programs are not forgotten.
    command = [sys.executable, str(example() / "build_image.py"), str(cache_directory()), "--base", base]
    done = subprocess.run(
        [*command, "--tag", IMAGE], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    return "" if done.returncode == 0 else f"the image {IMAGE} cannot be built"


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def synthetic_clip(means: Means, say: Say) -> Materials:
    """A small drawn clip with its calibration, where no real one can be had."""
    say("no clip can be had: a small one is drawn instead (boxes that move), so that the demo can go on")
    if "PYTHONPATH" not in means.env:
        made = _Prepared.model_validate_json(_output(_environment_command()))
        means = Means(runtime=means.runtime, reason=means.reason, env=made.env)
    directory = cache_directory() / "synthetic"
    variables = {**os.environ, **means.env}
    command = ["python3", "-m", "traffic_example.synthetic", str(directory)]
    program = shutil.which("python3", path=means.env["PATH"]) or "python3"
    done = subprocess.run([program, *command[1:]], env=variables, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise WinslowError("the clip could not be drawn", hint="see the lines above")
    return Materials(
        files={
            "clip-drawn": (directory / "clip.mp4", "res:traffic/drawn.mp4"),
            "calibration": (directory / "clip.otrfpts", "res:traffic/drawn.otrfpts"),
        },
        missing={},
    )


def prepare(client: Client, materials: Materials, means: Means, say: Say) -> list[Project]:
    """Apply the pipeline, upload what is there, create a project per clip; each as a person would."""
    from winslow.store.files import Upload
    from winslow_tui.facade import filing

    text = (example() / "pipeline.yaml").read_text()
    definition, revision = client.pipelines.apply(text, source="examples/traffic/pipeline.yaml")
    stages = " → ".join(stage.name for stage in definition.stages)
    say(f"pipeline '{definition.name}' revision {revision}: {stages}")
    uploads = [
        Upload(path=path, key=f"resources/{address.parse(where).path}")
        for path, where in materials.files.values()
    ]
    filing.upload(client.store, uploads, lambda _count: None)
    for path, where in materials.files.values():
        say(f"  {path.name} → {where}")
    projects = []
    for clip in materials.clips:
        env = {"VIDEO": materials.files[clip][1], **means.env}
        for name, variable in (("weights", "WEIGHTS"), ("calibration", "CALIBRATION")):
            if name in materials.files:
                env[variable] = materials.files[name][1]
        projects.append(
            client.projects.create(
                clip.removeprefix("clip-"), pipeline=definition.name, tags=["demo"], env=env
            )
        )
    return projects


def run(
    config: Config, client: Client, projects: list[Project], *, headless: bool, say: Say
) -> list[Project]:
    """Start the projects and show what happens until all have ended; the projects as they ended."""
    board = Board(projects)
    for project in projects:
        client.runs.start(project.id)
        say(f"started {project.id}")

    def ended() -> bool:
        return all(not client.project(project.id).active for project in projects)

    asyncio.run(watch(config, board, ended=ended, headless=headless, say=say, deadline=STUCK_SECONDS))
    return [client.project(project.id) for project in projects]


def summarise(client: Client, projects: list[Project], directory: Path, say: Say) -> bool:
    """Print what came out, fetch the results below `directory`; True when every project succeeded."""
    from winslow_tui.facade import filing

    for project in projects:
        say(f"\n{project.name} ({project.id})")
        for each in project.runs:
            attempt = each.attempt
            where = attempt.node if attempt else "-"
            bids = ", ".join(
                f"{bid.node} {bid.cost:.2f} s" if bid.cost is not None else f"{bid.node} {bid.kind}"
                for bid in (attempt.bids if attempt else ())
            )
            say(f"  #{each.n} {each.stage.name:<8} {each.state:<10} on {where:<4} bids: {bids or '-'}")
            if each.detail:
                say(f"     {terminal_text.line(each.detail)}")
            for key, value in each.results.items():
                say(f"     {terminal_text.line(key)} = {terminal_text.line(value)}")
        into = directory / project.id
        into.mkdir(parents=True, exist_ok=True)
        where_output = address.Address(place="output", project=project.id, path="", folder=True)
        found = filing.find(client.store, where_output, project, deep=True)
        filing.download(client.store, filing.plan_download(found, where_output, into), lambda _count: None)
        for picture in sorted(into.rglob("*.png")):
            say(f"  picture  {picture}")
    return all(each.runs and each.runs[-1].state is RunState.SUCCEEDED for each in projects)


def _output(command: list[str]) -> str:
    """A program's standard output; its narration goes on to ours. Raises WinslowError."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise WinslowError(
            f"{Path(command[1]).name} failed (exit code {done.returncode})", hint="see the lines above"
        )
    return done.stdout


def _environment_command() -> list[str]:
    return [sys.executable, str(example() / "environment.py"), str(cache_directory())]
