"""What a person changes of a project itself: people, environment, comment, priority, and its copy of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from winslow.definition_diff import pipeline_changes
from winslow.errors import UsageError
from winslow.project import Project
from winslow_tui.facade.changes import assignments, signed, words
from winslow_tui.facade.definition_editing import CopySubject
from winslow_tui.facade.definitions import Definition
from winslow_tui.program import runrows
from winslow_tui.program.themes import glyph
from winslow_tui.program.verbs import verb
from winslow_tui.screens.files import addresses
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.screens.page import aligned, open_page
from winslow_tui.screens.starting import ASSIGNED

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

MOST_CHANGES = 12  # lines of a question


@verb("clone", "project", "a new project that begins like it")
def clone(app: WinslowApp, keys: Sequence[str]) -> None:
    """A new project that begins where this one began."""
    fields = (
        Field("name", "name", required=True),
        Field("input", "its uploads too", value="no", choices=[("no", "no"), ("yes", "yes, copied")]),
    )

    def send(values: Mapping[str, str]) -> Project:
        return app.client.projects.clone(keys[0], values["name"], with_input=values["input"] == "yes")

    def done(made: object) -> None:
        if isinstance(made, Project):
            app.open_project(made.id)

    app.push_screen(Form(f"Clone {keys[0]}", fields, send, done=done))


@verb("people", "project", "who takes part", bulk=True, also=("participants",))
def people(app: WinslowApp, keys: Sequence[str]) -> None:
    """Who takes part."""

    def send(values: Mapping[str, str]) -> None:
        wanted = signed(words(values["people"]))
        for key in keys:
            app.client.projects.participate(key, add=wanted.add, remove=wanted.remove)

    field = Field("people", "people", required=True, placeholder="new ones, and name- to remove one")
    app.push_screen(Form(f"People of {', '.join(keys)}", [field], send))


@verb("env", "project", "environment", key="e")
def env(app: WinslowApp, keys: Sequence[str]) -> None:
    """The project's own environment, for every run to come. An emptied one is the pipeline's again."""

    def ask(project: Project) -> None:
        files = addresses(app)
        fields = [Field(name, name, value=value, complete=files) for name, value in project.env.items()]
        fields.append(Field("", "more", placeholder=ASSIGNED))

        def send(values: Mapping[str, str]) -> None:
            changed = {name: value for name, value in values.items() if name and value != project.env[name]}
            more, gone = assignments(words(values[""]))
            changed |= more
            unset = [*gone, *(name for name, value in changed.items() if not value and name in project.env)]
            kept = {name: value for name, value in changed.items() if name not in unset}
            app.client.projects.set_env(project.id, kept, unset=unset)

        told = f"{project.name}: its environment is changed, for the runs to come"
        app.push_screen(Form(f"Environment of {project.name}", fields, send, done=lambda _: app.told(told)))

    app.do(lambda: app.client.project(keys[0]), ask)


@verb("comment", "project", "write a text about it")
def comment(app: WinslowApp, keys: Sequence[str]) -> None:
    """A text about the project."""

    def ask(project: Project) -> None:
        field = Field("comment", "comment", value=project.comment)
        app.push_screen(
            Form(
                f"Comment on {project.name}",
                [field],
                lambda values: app.client.projects.comment(project.id, values["comment"]),
            )
        )

    app.do(lambda: app.client.project(keys[0]), ask)


@verb("priority", "project", "have its runs bid on sooner or later", bulk=True)
def priority(app: WinslowApp, keys: Sequence[str]) -> None:
    """Runs of a higher priority are bid on first; 0 is usual."""

    def send(values: Mapping[str, str]) -> None:
        try:
            number = int(values["priority"])
        except ValueError:
            raise UsageError(f"'{values['priority']}' is no whole number") from None
        for key in keys:
            app.client.projects.prioritize(key, number)

    app.push_screen(Form(f"Priority of {', '.join(keys)}", [Field("priority", "priority", value="0")], send))


@verb("unarchive", "project", "take back from the archive", bulk=True)
def unarchive(app: WinslowApp, keys: Sequence[str]) -> None:
    """Show it among the others again."""
    app.do(
        lambda: [app.client.projects.archive(key, archived=False) for key in keys],
        lambda _: app.told("taken back"),
    )


@verb("explain", "project", "why it waits", key="w", hint="why it waits", spare=True, changes=False)
def explain(app: WinslowApp, keys: Sequence[str]) -> None:
    """What it waits for, and what every node says to that."""

    def look() -> str:
        from winslow_tui.shown.explanation import explain

        nodes = list(app.site.nodes.values())  # at once: the app goes on putting others in
        told = explain(app.client.project(keys[0]), nodes)
        waits = {run.get("waits", "") for run in told["runs"]}
        reason = "" if told["reason"] in waits else told["reason"]  # it is said with the run
        parts = [f"{glyph(told['state'])} {told['state']}{': ' if reason else ''}{reason}"]
        for run in told["runs"]:
            does = run.get("waits") or f" {runrows.state_told(run['state'])}"
            parts.append(f"#{run['run']} {run['stage']} {does}")
            answers = [
                (node, f"{each['answer']}", "; ".join(each["reasons"]))
                for node, each in run.get("nodes", {}).items()
            ]
            parts += [aligned([("NODE", "ANSWER", "WHY"), *answers])] if answers else []
        return "\n\n".join(parts)

    open_page(app, f"{keys[0]}: why it waits", look, sentences=True)


# -- its own copy of the pipeline


@verb("edit", "project", "edit its pipeline")
def edit(app: WinslowApp, keys: Sequence[str]) -> None:
    """Its own copy, in the person's own editor."""
    app.do(
        lambda: app.client.project(keys[0]),
        lambda project: app.edit(CopySubject(app.client, project)),
    )


@verb("set-pipeline", "project", "give it another pipeline")
def set_pipeline(app: WinslowApp, keys: Sequence[str]) -> None:
    """Another definition, after the changes were shown."""

    def ask(names: list[str]) -> None:
        field = Field("name", "pipeline", value=names[0], choices=[(name, name) for name in names])
        app.push_screen(
            Form(
                f"Pipeline of {keys[0]}",
                [field],
                lambda values: (app.client.project(keys[0]), app.client.pipelines.get(values["name"])),
                done=lambda found: _take_over(app, *found) if isinstance(found, tuple) else None,
            )
        )

    app.do(lambda: [head.name for head in app.client.pipelines.heads()], ask)


@verb("update-pipeline", "project", "take over its pipeline's newest revision")
def update_pipeline(app: WinslowApp, keys: Sequence[str]) -> None:
    """What its pipeline says by now, after the changes were shown."""

    def work() -> tuple[Project, Definition]:
        project = app.client.project(keys[0])
        return project, app.client.pipelines.get(project.source)

    app.do(work, lambda found: _take_over(app, *found))


def _take_over(app: WinslowApp, seen: Project, found: Definition) -> None:
    changes = [str(each) for each in pipeline_changes(seen.pipeline.definition, found.definition)]
    head, held = found.head, seen.pipeline
    if not changes and (head.name, head.revision) == (seen.source, held.source_revision):
        app.told(f"{seen.id}: its copy of the pipeline says this already")
        return

    lines = [f"Give {seen.id} {head.name} revision {head.revision}?"]
    lines += ["Its copy was edited; that is among what changes."] if held.edited and changes else []
    lines += changes[:MOST_CHANGES]
    lines += [f"… and {len(changes) - MOST_CHANGES} more"] if len(changes) > MOST_CHANGES else []
    app.push_screen(
        Question(
            "\n".join(lines),
            lambda: app.client.projects.change_pipeline(
                seen, found.definition, source=head.name, source_revision=head.revision
            ),
            done=lambda _: app.told(f"{seen.id} has {head.name} revision {head.revision}"),
        )
    )
