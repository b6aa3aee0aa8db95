"""What a person does to projects and runs, from any screen that shows them: forms, questions, and the facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from winslow import queueing
from winslow.lifecycle import state_of
from winslow.pipeline import StageDefinition
from winslow.project import EnvValue, PauseReason, Project, Run, RunState
from winslow_tui.facade.changes import Changes, Workspace
from winslow_tui.program.verbs import verb
from winslow_tui.screens.files import addresses
from winslow_tui.screens.form import Field, Form, Question

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

_ENV = "env "
ADDED = "more"


# -- projects


@verb("new", "site", "new project", key="n", hint="new")
def new_project(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Ask for a name and a pipeline."""

    def ask(names: list[str]) -> None:
        if not names:
            app.told("there is no pipeline yet", hint="winslow pipeline apply FILE", bad=True)
            return
        fields = (
            Field("name", "name", required=True, placeholder="what people call it"),
            Field("pipeline", "pipeline", value=names[0], choices=[(name, name) for name in names]),
            Field("tags", "tags", placeholder="words, separated by spaces"),
        )

        def send(values: Mapping[str, str]) -> Project:
            return app.client.projects.create(
                values["name"], pipeline=values["pipeline"], tags=values["tags"].split()
            )

        app.push_screen(
            Form(
                "New project",
                fields,
                send,
                done=lambda made: app.open_project(made.id) if isinstance(made, Project) else None,
            )
        )

    app.do(lambda: [head.name for head in app.client.pipelines.heads()], ask)


@verb("start", "project", "start", key="s", hint="start", also=("resume",))
def start(app: WinslowApp, keys: Sequence[str]) -> None:
    """Start or resume: the form has what comes next filled in."""

    def ask(project: Project) -> None:
        app.push_screen(start_form(app, project))

    app.do(lambda: app.client.project(keys[0]), ask)


@verb("pause", "project", "pause", key="p", hint="pause", bulk=True, also=("unpause",))
def pause(app: WinslowApp, keys: Sequence[str]) -> None:
    """Pause after the running stage; where that is so already, take it back."""

    def work() -> str:
        done = []
        for key in keys:
            project = app.client.project(key)
            back = project.active and project.control.paused
            after = app.client.runs.resume(key) if back else app.client.runs.pause(key)
            done.append(f"{after.id}: {'goes on' if back else 'pauses after its stage'}")
        return "\n".join(done)

    app.do(work, app.told)


@verb("abort", "project", "abort", key="x", hint="abort", bulk=True)
def abort(app: WinslowApp, keys: Sequence[str]) -> None:
    """Stop what runs or waits."""
    app.push_screen(
        Question(
            f"Abort what runs in {_named(keys)}?\nIt counts as failed, and the project pauses.",
            lambda: [app.client.runs.abort(key) for key in keys],
            done=lambda _: app.told("aborted"),
        )
    )


@verb("answer", "project", "answer what it asks", key="a", also=("confirm",))
def answer(app: WinslowApp, keys: Sequence[str]) -> None:
    """The form with exactly the values it asks for, or the question it asks."""

    def ask(project: Project) -> None:
        control, asked = project.control, project.control.pending
        if control.reason is PauseReason.INPUT_REQUIRED:
            files = addresses(app)
            fields = [Field(name, name, required=True, complete=files) for name in control.needs]
            app.push_screen(
                Form(
                    f"{project.name}: {control.note}",
                    fields,
                    lambda values: app.client.runs.answer(project.id, dict(values)),
                    done=lambda _: app.told("goes on"),
                )
            )
        elif control.reason is PauseReason.CONFIRMATION:
            app.push_screen(
                Question(
                    f"{project.name}: {control.note}.\nGo on?",
                    lambda: app.client.runs.confirm(project.id, stage=asked.stage if asked else ""),
                    done=lambda _: app.told("goes on"),
                )
            )
        else:
            app.told(f"{project.name} asks for nothing")

    app.do(lambda: app.client.project(keys[0]), ask)


@verb("tags", "project", "tags", key="t", hint="tags", spare=True, bulk=True, also=("tag",))
def tags(app: WinslowApp, keys: Sequence[str]) -> None:
    """Add and remove tags."""

    def send(values: Mapping[str, str]) -> None:
        add = [word for word in values["tags"].split() if not word.endswith("-")]
        remove = [word[:-1] for word in values["tags"].split() if word.endswith("-")]
        for key in keys:
            app.client.projects.tag(key, add=add, remove=remove)

    field = Field("tags", "tags", required=True, placeholder="new ones, and old- to remove one")
    app.push_screen(Form(f"Tags of {_named(keys)}", [field], send))


@verb("rename", "project", "rename")
def rename(app: WinslowApp, keys: Sequence[str]) -> None:
    """Another name; the id stays."""
    field = Field("name", "name", value=app.site.projects[keys[0]].summary.name, required=True)
    app.push_screen(
        Form(f"Rename {keys[0]}", [field], lambda values: app.client.projects.rename(keys[0], values["name"]))
    )


@verb("archive", "project", "archive", bulk=True)
def archive(app: WinslowApp, keys: Sequence[str]) -> None:
    """Put away."""
    app.do(lambda: [app.client.projects.archive(key) for key in keys], lambda _: app.told("archived"))


@verb("delete", "project", "delete", key="D")
def delete(app: WinslowApp, keys: Sequence[str]) -> None:
    """Delete with every file, log and record, once the name was typed."""

    def ask(project: Project) -> None:
        app.push_screen(
            Question(
                f"Delete {project.id} with its {len(project.runs)} runs and all their files, logs and records?",
                lambda: app.client.projects.delete(project.id),
                done=lambda gone: app.told(f"{gone} is deleted"),
                name=project.name,
            )
        )

    app.do(lambda: app.client.project(keys[0]), ask)


# -- runs


@verb("redo", "run", "redo", key="r", hint="redo")
def redo(app: WinslowApp, keys: Sequence[str]) -> None:
    """The form filled from an old run; `keys` are `PROJECT#RUN`."""
    project_id, _, number = keys[0].rpartition("#")

    def ask(project: Project) -> None:
        run = project.run(int(number))
        if run is not None:
            app.push_screen(start_form(app, project, like=run))

    app.do(lambda: app.client.project(project_id), ask)


def start_form(app: WinslowApp, project: Project, *, like: Run | None = None) -> Form:
    """Stage, environment, workspace, and what comes after; from the plan, or from an old run."""
    control, definition = project.control, project.pipeline.definition
    failed = next((run for run in reversed(project.runs) if run.state is RunState.FAILED), None)
    again = failed if control.reason is PauseReason.STAGE_FAILED else None
    stage, env = _planned(project, like, again)
    fields: list[Field] = []
    if like is None:
        names = [each.name for each in definition.stages]
        fields.append(Field("stage", "stage", value=stage.name, choices=[(name, name) for name in names]))
    needed = (*definition.require_env, *stage.require_env)
    files = addresses(app)
    for name in sorted({*env, *needed}, key=lambda name: (name not in needed, name)):
        known = env.get(name)
        note = known.origin.value if known else "needed"
        value = known.value if known else ""
        fields.append(Field(_ENV + name, name, value=value, note=note, complete=files))
    workspaces = [("auto", "the run before it"), ("none", "empty")]
    workspaces += [
        (str(run.n), f"#{run.n} {run.stage.name}")
        for run in reversed(project.runs)
        if run.manifests.workspace
    ]
    fields += [
        Field(ADDED, "more environment", placeholder="NAME=VALUE NAME=VALUE"),
        Field("workspace", "workspace from", value="auto", choices=workspaces),
        Field(
            "after", "afterwards", value="auto", choices=[("auto", "go on by itself"), ("single", "pause")]
        ),
        Field("comment", "comment"),
    ]

    def send(values: Mapping[str, str]) -> Project:
        changes = _changes(values, env)
        if like is not None:
            return app.client.runs.redo(project.id, like.n, changes=changes)
        return app.client.runs.start(project.id, stage=values["stage"], changes=changes)

    def done(after: object) -> None:
        if isinstance(after, Project):
            state, why = state_of(after)
            app.told(f"{after.name}: {state.value}{': ' + why if why else ''}")

    title = f"Redo run #{like.n} ({like.stage.name})" if like else f"Start {project.name}"
    return Form(title, fields, send, done=done)


def _planned(
    project: Project, like: Run | None, again: Run | None
) -> tuple[StageDefinition, Mapping[str, EnvValue]]:
    """The stage the form begins with and its environment as it would be."""
    if like is not None:
        return like.stage, like.env
    definition = project.pipeline.definition
    name = project.control.next_stage
    stage = (definition.stage(name) if name else None) or definition.stages[0]
    asked = project.control.pending or (again.asked if again else None)
    return stage, queueing.environment(project, stage, asked.env if asked else {})


def _changes(values: Mapping[str, str], env: Mapping[str, EnvValue]) -> Changes:
    changed = {
        name.removeprefix(_ENV): value
        for name, value in values.items()
        if name.startswith(_ENV)
        and value != (env[name.removeprefix(_ENV)].value if name.removeprefix(_ENV) in env else "")
    }
    for text in values[ADDED].split():
        name, _, value = text.partition("=")
        changed[name] = value
    workspace: Workspace = "auto"
    if values["workspace"] == "none":
        workspace = "none"
    elif values["workspace"] != "auto":
        workspace = int(values["workspace"])
    return Changes(
        env=changed, workspace=workspace, single=values["after"] == "single", comment=values["comment"]
    )


def _named(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} projects"
