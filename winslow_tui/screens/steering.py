"""What a person does to projects and runs, from any screen that shows them: forms, questions, and the facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from winslow.project import PauseReason, Project
from winslow_tui.facade.changes import signed, words
from winslow_tui.program.verbs import verb
from winslow_tui.screens.files import addresses
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.screens.starting import Plan, ask_start

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

# -- projects


@verb("new", "site", "new project", key="n", hint="new")
def new_project(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Ask for a name and a pipeline."""

    def ask(names: list[str]) -> None:
        if not names:
            app.told(
                "a project is made of a pipeline, and there is none yet",
                hint=f"{app.keymap.told('apply')} applies a pipeline's file",
                bad=True,
            )
            return
        fields = (
            Field("name", "name", required=True, placeholder="what people call it"),
            Field("pipeline", "pipeline", value=names[0], choices=[(name, name) for name in names]),
            Field("tags", "tags", placeholder="words, separated by spaces"),
        )

        def send(values: Mapping[str, str]) -> Project:
            return app.client.projects.create(
                values["name"], pipeline=values["pipeline"], tags=words(values["tags"])
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


@verb("start", "project", "start or resume", key="s", hint="start", also=("resume",))
def start(app: WinslowApp, keys: Sequence[str]) -> None:
    """Start or resume: the form has what comes next filled in."""
    ask_start(app, lambda: Plan.of(app.client.project(keys[0])))


@verb(
    "pause",
    "project",
    "pause after its stage; again: go on",
    key="p",
    hint="pause",
    bulk=True,
    also=("unpause",),
)
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


@verb("abort", "project", "stop what runs or waits", key="x", hint="abort", bulk=True)
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


@verb("tags", "project", "add or remove tags", key="t", hint="tags", spare=True, bulk=True, also=("tag",))
def tags(app: WinslowApp, keys: Sequence[str]) -> None:
    """Add and remove tags."""

    def send(values: Mapping[str, str]) -> None:
        wanted = signed(words(values["tags"]))
        for key in keys:
            app.client.projects.tag(key, add=wanted.add, remove=wanted.remove)

    rows = [app.site.projects[key] for key in keys if key in app.site.projects]
    held = " ".join(dict.fromkeys(tag for row in rows for tag in row.summary.tags)) or "none"
    field = Field("tags", "tags", required=True, placeholder="new ones, and old- to remove one")
    app.push_screen(Form(f"Tags of {_named(keys)}, now {held}", [field], send))


@verb("rename", "project", "another name; its id stays")
def rename(app: WinslowApp, keys: Sequence[str]) -> None:
    """Another name; the id stays."""
    field = Field("name", "name", value=app.site.projects[keys[0]].summary.name, required=True)
    app.push_screen(
        Form(f"Rename {keys[0]}", [field], lambda values: app.client.projects.rename(keys[0], values["name"]))
    )


@verb("archive", "project", "put into the archive", bulk=True)
def archive(app: WinslowApp, keys: Sequence[str]) -> None:
    """Put away."""
    app.do(
        lambda: [app.client.projects.archive(key) for key in keys],
        lambda _: app.told(
            "archived",
            hint=f"{app.keymap.told('filter')} state:archived shows what is; :unarchive takes it back",
        ),
    )


@verb("delete", "project", "delete with every file and log", key="D")
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


@verb("redo", "run", "run it again, changed or not", key="r", hint="redo")
def redo(app: WinslowApp, keys: Sequence[str]) -> None:
    """The form filled from an old run; `keys` are `PROJECT#RUN`."""
    project_id, _, number = keys[0].rpartition("#")
    ask_start(app, lambda: Plan.of(app.client.project(project_id), like=int(number)))


def _named(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} projects"
