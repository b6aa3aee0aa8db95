"""What a project's page says in text: what it is set to."""

from __future__ import annotations

from textual.content import Content

from winslow.definition_yaml import write
from winslow.project import Project
from winslow_tui.widgets.facts import named
from winslow_tui.widgets.yamltext import highlighted


def settings(project: Project, width: int) -> Content:
    """What the project itself is set to, and its own copy of the pipeline."""
    copy = project.pipeline
    own = {
        "id": project.id,
        "author": project.author,
        "participants": ", ".join(project.participants) or "-",
        "tags": ", ".join(project.tags) or "-",
        "priority": str(project.priority),
        "comment": project.comment or "-",
        **{f"env {name}": value for name, value in project.env.items()},
    }
    edited = ", changed since" if copy.edited else ""
    head = f"# its own copy of {project.source}, revision {copy.source_revision}{edited}"
    definition = highlighted(f"{head}\n{write(copy.definition)}")
    return Content("\n\n").join([named(own.items(), max(30, width)), definition])
