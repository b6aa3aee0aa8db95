"""What a project's page says in text: what it is set to, and names with what belongs to them."""

from __future__ import annotations

from textwrap import wrap

from textual.content import Content

from winslow import terminal_text
from winslow.definition_yaml import write
from winslow.project import Project
from winslow_tui.widgets.yamltext import highlighted


def settings(project: Project) -> Content:
    """What the project itself is set to, and its own copy of the pipeline."""
    copy = project.pipeline
    edited = ", changed since" if copy.edited else ""
    lines = [
        f"id            {project.id}",
        f"author        {project.author}",
        f"participants  {', '.join(project.participants) or '-'}",
        f"tags          {', '.join(project.tags) or '-'}",
        f"priority      {project.priority}",
        f"comment       {project.comment or '-'}",
        "",
        *(f"env {name}={value}" for name, value in project.env.items()),
        "",
        f"# its own copy of {project.source}, revision {copy.source_revision}{edited}",
        write(copy.definition),
    ]
    return highlighted("\n".join(lines))


def hanging(name: str, text: str, width: int, *, indent: int = 6) -> str:
    """A name and its text, whose further lines begin below its first."""
    room = max(10, width - indent)
    lines = wrap(terminal_text.line(text), room, break_on_hyphens=False) or [""]
    return "\n".join(f"{name if not place else '':<{indent}}{line}" for place, line in enumerate(lines))
