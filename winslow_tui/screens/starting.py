"""The form that a run is started with: every value as the run would have it, and what of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winslow import queueing
from winslow.errors import UsageError
from winslow.lifecycle import state_of
from winslow.pipeline import StageDefinition
from winslow.project import EnvValue, PauseReason, Project, RunRequest, RunState
from winslow_tui.facade.changes import Changes, Workspace, assignments, required, requirements, words
from winslow_tui.screens.files import addresses
from winslow_tui.screens.form import Field, Form

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

ASSIGNED = "NAME=VALUE NAME='TWO WORDS'"
_ENV = "env "


@dataclass(frozen=True)
class Plan:
    """A run as it would be. `request` is what was asked for it so far, `plain` its stage without that."""

    project: Project
    request: RunRequest
    plain: StageDefinition
    stage: StageDefinition
    env: Mapping[str, EnvValue]

    @classmethod
    def of(cls, project: Project, *, stage: str | None = None, like: int | None = None) -> Plan:
        """A run of `stage`, of what comes next, or like an old one. Raises NotFound or InvalidInput."""
        if like is not None:
            request = RunRequest(id="", stage=queueing.blueprint(project, like).stage.name, blueprint=like)
        else:
            request = _asked(project, stage or _next(project))
        plain = (
            queueing.stage_of(project, request.stage)
            if request.blueprint is None
            else queueing.blueprint(project, request.blueprint).stage
        )
        resolved, env = queueing.resolve(project, request)
        return cls(project, request, plain, resolved, env)

    @property
    def needed(self) -> frozenset[str]:
        """Variables that somebody must set."""
        return frozenset((*self.project.pipeline.definition.require_env, *self.stage.require_env))

    def changes(self, values: Mapping[str, str]) -> Changes:
        """What the form's values change of the plain stage: what was asked for before, too. Raises UsageError."""
        shown = {name: self.env[name].value if name in self.env else "" for name in (*self.env, *self.needed)}
        edited = {name: values[_ENV + name] for name, value in shown.items() if values[_ENV + name] != value}
        more, gone = assignments(words(values["more"]))
        if gone:
            raise UsageError(
                f"{gone[0]}-: a run has what its project and stage set", hint=f"make it empty: {gone[0]}="
            )
        image = values["image"].strip()
        return Changes(
            env={**self.request.env, **edited, **more},
            image="" if image == self.plain.image else image,
            requires=requirements(words(values["requires"]), where="requirements"),
            workspace=_workspace(values["workspace"]),
            single=values["after"] == "single",
            comment=values["comment"],
        )


def _next(project: Project) -> str:
    """The stage that would be next; the first where there is none."""
    definition, name = project.pipeline.definition, project.control.next_stage
    return name if name and definition.stage(name) else definition.stages[0].name


def _asked(project: Project, stage: str) -> RunRequest:
    """What waits for a person with what was asked for it, what has failed as it was asked for, or the plain stage."""
    control = project.control
    if control.pending is not None and control.pending.stage == stage:
        return control.pending
    if control.reason is PauseReason.STAGE_FAILED and control.next_stage == stage:
        for run in reversed(project.runs):
            if run.stage.name == stage and run.state is RunState.FAILED:
                return RunRequest(id="", stage=stage, blueprint=run.blueprint, **run.asked.model_dump())
    return RunRequest(id="", stage=stage)


def ask_start(app: WinslowApp, plan: Callable[[], Plan], *, first: str = "") -> None:
    """Open the form for what `plan` says, which is called in a thread."""
    app.do(plan, lambda made: app.push_screen(run_form(app, made, first=first)))


def run_form(app: WinslowApp, plan: Plan, *, first: str) -> Form:
    """The run as it would be, each value with where it comes from."""
    project, request = plan.project, plan.request
    fields: list[Field] = []
    if request.blueprint is None:
        names = [each.name for each in project.pipeline.definition.stages]
        fields.append(
            Field(
                "stage", "stage", value=plan.stage.name, choices=[(name, name) for name in names],
                chosen=lambda name: ask_start(app, lambda: Plan.of(project, stage=name), first="stage"),
            )
        )  # fmt: skip
    files = addresses(app)
    for name in sorted({*plan.env, *plan.needed}, key=lambda name: (name not in plan.needed, name)):
        known = plan.env.get(name)
        fields.append(
            Field(
                _ENV + name, name, value=known.value if known else "", complete=files,
                note=known.origin.value if known else "needed",
            )
        )  # fmt: skip
    fields += [
        Field("more", "more environment", placeholder=ASSIGNED),
        Field("image", "image", value=plan.stage.image),
        Field(
            "requires", "requirements", value=required(request.requires),
            placeholder="as the stage says; else cpus=4 memory=16GiB",
        ),
        Field("workspace", "workspace from", value=str(request.workspace), choices=_workspaces(plan)),
        Field(
            "after", "afterwards", value=request.advance,
            choices=[("auto", "go on by itself"), ("single", "pause")],
        ),
        Field("comment", "comment", value=request.comment),
    ]  # fmt: skip

    def send(values: Mapping[str, str]) -> Project:
        changes = plan.changes(values)
        if request.blueprint is not None:
            return app.client.runs.redo(project.id, request.blueprint, changes=changes)
        return app.client.runs.start(project.id, stage=plan.stage.name, changes=changes)

    def done(after: object) -> None:
        if isinstance(after, Project):
            state, why = state_of(after)
            app.told(f"{after.name}: {state.value}{': ' + why if why else ''}")

    again = f"Redo run #{request.blueprint} ({plan.stage.name})"
    title = f"Start {project.name}" if request.blueprint is None else again
    return Form(title, fields, send, done=done, first=first)


def _workspaces(plan: Plan) -> Sequence[tuple[str, str]]:
    """What can be taken over, and what was asked for, be it still there or not."""
    found = {"auto": "the run before it", "none": "empty"}
    if plan.project.initial is not None:
        found["0"] = "what was put there at the start"
    found |= {
        str(run.n): f"#{run.n} {run.stage.name}"
        for run in reversed(plan.project.runs)
        if run.manifests.workspace
    }
    asked = str(plan.request.workspace)
    return list(({asked: f"#{asked}"} | found).items()) if asked not in found else list(found.items())


def _workspace(chosen: str) -> Workspace:
    return "auto" if chosen == "auto" else "none" if chosen == "none" else int(chosen)
