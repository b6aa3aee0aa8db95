"""What `editing` can change of definitions: a pipeline's text, and a project's own copy."""

from __future__ import annotations

import shlex
from pathlib import Path

from winslow import pipeline
from winslow.definition_diff import pipeline_changes
from winslow.definition_yaml import write
from winslow.errors import InvalidInput, NotFound
from winslow.project import Project
from winslow_tui.facade.client import Client
from winslow_tui.shown.definition_view import text_diff


class PipelineSubject:
    """A pipeline's text, stored as its next revision. Raises NotFound when made, where there is none."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._base = client.pipelines.text(name)
        self._newest = self._base.head.revision  # 0 once it was deleted

    @property
    def title(self) -> str:
        """See editing."""
        return f"pipeline {self._name}"

    @property
    def stem(self) -> str:
        """See editing."""
        return f"pipeline-{self._name}"

    def text(self) -> str:
        """See editing."""
        return self._base.text

    def check(self, text: str, *, source: str) -> None:
        """See editing."""
        definition = pipeline.parse(text, source=source)
        if definition.name != self._name:
            raise InvalidInput(
                f"{source}: is the definition of a pipeline '{definition.name}', not of '{self._name}'",
                hint="a pipeline keeps its name; one of another name: winslow pipeline apply FILE",
            )

    def store(self, text: str, *, source: str) -> str:
        """See editing."""
        _, revision = self._client.pipelines.apply(text, source=source, if_revision=self._newest)
        return f"{self._name} revision {revision}"

    def meanwhile(self) -> list[str]:
        """See editing."""
        try:
            now = self._client.pipelines.text(self._name)
        except NotFound:
            self._newest = 0
            return [f"storing makes pipeline {self._name} again"]
        lines = text_diff(self._base, now)
        self._base, self._newest = now, now.head.revision
        return lines

    def way_on(self, path: Path) -> str:
        """See editing."""
        return f"winslow pipeline apply {shlex.quote(str(path))} --if-revision {self._newest}"


class CopySubject:
    """A project's own copy of its pipeline, which is stored as data: a text is made of it for the editor."""

    def __init__(self, client: Client, project: Project) -> None:
        self._client = client
        self._seen = project

    @property
    def title(self) -> str:
        """See editing."""
        return f"the copy of the pipeline in {self._seen.id}"

    @property
    def stem(self) -> str:
        """See editing."""
        return f"project-{self._seen.id}"

    def text(self) -> str:
        """See editing."""
        return copy_text(self._seen)

    def check(self, text: str, *, source: str) -> None:
        """See editing."""
        pipeline.parse(text, source=source)

    def store(self, text: str, *, source: str) -> str:
        """See editing."""
        definition = pipeline.parse(text, source=source)
        changes = pipeline_changes(self._seen.pipeline.definition, definition)
        if not changes:
            return f"{self._seen.id}: its copy says this already"
        self._client.projects.change_pipeline(self._seen, definition)
        return "\n".join([f"{self._seen.id}: its copy of the pipeline is changed", *map(str, changes)])

    def meanwhile(self) -> list[str]:
        """See editing. The Conflict has said what it was."""
        self._seen = self._client.project(self._seen.id)
        return []

    def way_on(self, path: Path) -> str:
        """See editing."""
        return f"winslow project set-pipeline {self._seen.id} --file {shlex.quote(str(path))}"


def copy_text(project: Project) -> str:
    """The project's own copy as YAML, with a word on what becomes of comments."""
    copied = project.pipeline
    return (
        f"# The own copy of pipeline {project.source} in project {project.id}"
        f" ({'edited since' if copied.edited else 'as'} revision {copied.source_revision}).\n"
        "# What runs now is not changed by it. Comments are not kept: it is stored as data.\n\n"
    ) + write(copied.definition)
