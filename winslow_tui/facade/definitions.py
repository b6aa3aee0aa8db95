"""A person's commands on pipeline definitions (R1110 to R1130)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from winslow import pipeline
from winslow.errors import InvalidInput, NotFound
from winslow.pipeline import PipelineDefinition
from winslow.store.pipelines import PipelineHead, Pipelines, PipelineText, Unreadable
from winslow.store.pool import in_parallel
from winslow_tui.facade.link import Link
from winslow_tui.facade.names import nearest

READERS = 8


@dataclass(frozen=True)
class Definition:
    """A pipeline as it stands in the store."""

    head: PipelineHead
    text: str
    definition: PipelineDefinition


class Definitions:
    """The site's pipeline definitions, over one person's link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def _stored(self) -> Pipelines:
        return Pipelines(self._link.store, patience=self._link.patience)

    def heads(self) -> list[PipelineHead]:
        """Every definition's head, by name. Of what this program cannot read a sentence is said."""
        found = self.all()
        for each in found:
            if isinstance(each, Unreadable):
                self._link.say(f"{each.error}; {each.error.hint}" if each.error.hint else str(each.error))
        return [each for each in found if isinstance(each, PipelineHead)]

    def all(self) -> list[PipelineHead | Unreadable]:
        """Every definition by name, also those that this program cannot read."""
        return self._stored.all()

    def apply(
        self, text: str, *, source: str, if_revision: int | None = None
    ) -> tuple[PipelineDefinition, int]:
        """Check a definition and make it the current one of its name; with its revision.

        With `if_revision` only while that is the newest one. Raises Conflict.
        """
        definition = pipeline.parse(text, source=source)
        revision = self._stored.apply(
            definition.name, text, by=self._link.author, updated=self._link.now(), if_revision=if_revision
        )
        self._tell(definition.name, revision)
        return definition, revision

    def get(self, name: str, *, revision: int | None = None) -> Definition:
        """The definition of that name, or an older revision of it. Raises as `text`, or InvalidInput."""
        head, text = self.text(name, revision=revision)
        return Definition(head=head, text=text, definition=pipeline.parse(text, source=f"pipeline {name}"))

    def text(self, name: str, *, revision: int | None = None) -> PipelineText:
        """As `get`, only the text. Raises NotFound with the nearest names."""
        with self._known(name):
            return self._stored.read(name, revision=revision)

    def history(self, name: str) -> list[PipelineHead]:
        """Who applied what when, newest first. Raises NotFound with the nearest names."""
        with self._known(name):
            return self._stored.history(name)

    def newest_revisions(self, names: Iterable[str]) -> dict[str, int | None]:
        """The newest revision of each of these pipelines; None for one that is not there (any more).

        One whose document cannot be read is left out."""
        asked = sorted(set(names))

        def read(number: int) -> tuple[str, int | None] | None:
            try:
                head = self._stored.head(asked[number])
            except InvalidInput:
                return None
            return asked[number], head.revision if head is not None else None

        found = in_parallel(READERS, "pipelines", read, range(len(asked)))
        return dict(each for each in found if each is not None)

    @contextmanager
    def _known(self, name: str) -> Iterator[None]:
        try:
            yield
        except (NotFound, InvalidInput) as error:
            known = [each.name for each in self.all()]
            if name in known:
                raise
            raise NotFound(
                f"there is no pipeline '{name}'", hint=nearest(name, known, "winslow pipeline list")
            ) from error

    def delete(self, name: str) -> None:
        """Remove a definition; projects that use it have their own copy."""
        self._stored.delete(self.head(name).name)
        self._tell(name, None)

    def head(self, name: str) -> PipelineHead:
        """The head of that name, also where its text is damaged. Raises NotFound with the nearest names, or
        InvalidInput."""
        heads = {head.name: head for head in self.all()}
        if name not in heads:
            raise NotFound(
                f"there is no pipeline '{name}'", hint=nearest(name, heads, "winslow pipeline list")
            )
        found = heads[name]
        if isinstance(found, Unreadable):
            raise found.error
        return found

    def _tell(self, name: str, revision: int | None) -> None:
        from broker import messages, topics
        from winslow_tui.facade import live

        notice = messages.PipelineNotice(name=name, revision=revision) if revision is not None else None
        topic = topics.PipelineNotice(name=name)
        self._link.broker(lambda: live.publish(self._link.config, [(topic, notice)]))
