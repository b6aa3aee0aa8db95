"""A person's commands on projects themselves: find, create, clone, change, delete (R1210 to R1250)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from winslow import address, events, lifecycle
from winslow.definition_diff import pipeline_changes, sentence
from winslow.errors import Conflict, InvalidInput, NotFound, Unreachable, UsageError
from winslow.pipeline import Env, EnvName, PipelineDefinition, Retention
from winslow.placement import size_text
from winslow.project import Project, Tombstone
from winslow.store import layout
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectInfo
from winslow_tui.facade.definitions import Definitions
from winslow_tui.facade.link import Link
from winslow_tui.facade.names import check_comment, check_name, check_tag, pick, slug

READERS = 8
_ID_TRIES = 5
T = TypeVar("T")
_ENV: TypeAdapter[dict[str, str]] = TypeAdapter(Env)
_NAMES: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[EnvName, ...])


@dataclass(frozen=True)
class Unreadable:
    """A project whose document this program cannot read; `why` is a sentence."""

    id: str
    why: str


class Projects:
    """The site's projects, over one person's link."""

    def __init__(self, link: Link, definitions: Definitions) -> None:
        self._link = link
        self._definitions = definitions

    # -- finding

    def all(self) -> list[Project | Tombstone | Unreadable]:
        """Every project, by id; what was deleted while reading is left out."""
        documents = self._link.documents
        ids = sorted(documents.project_etags())

        def read(number: int) -> Project | Tombstone | Unreadable | None:
            try:
                return documents.read(ids[number]).document
            except NotFound:
                return None
            except InvalidInput as error:
                return Unreadable(id=ids[number], why=str(error))

        found = in_parallel(READERS, "projects", read, range(len(ids)))
        return [each for each in found if each is not None]

    def id_of(self, query: str) -> str:
        """The id of the project a person means. Raises NotFound or Conflict with the candidates."""
        ids = self._link.documents.project_etags()
        if query in ids:
            return query
        return pick(query, {each.id: each.name for each in self.all() if isinstance(each, Project)})

    def get(self, query: str) -> Project:
        """The project a person means."""
        document = self._link.documents.read(self.id_of(query)).document
        if isinstance(document, Tombstone):
            raise NotFound(str(document))
        return document

    # -- making and removing

    def create(
        self, name: str, *, pipeline: str, tags: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> Project:
        """A new project with its own copy of the pipeline, paused before its first stage."""
        template = self._definitions.get(pipeline)
        name = check_name(name)
        checked = self.checked_env(env or {})
        return self._made(
            name,
            lambda id_: lifecycle.create(
                id=id_,
                event_id=self._link.new_id(),
                name=name,
                pipeline=template.definition,
                source_revision=template.head.revision,
                author=self._link.author,
                tags=tuple(dict.fromkeys(check_tag(tag) for tag in tags)),
                env=checked,
                at=self._link.now(),
            ),
        )

    def clone(self, query: str, name: str, *, with_input: bool = False) -> Project:
        """A new project that begins where `query` began: its copy of the pipeline, environment, tags, participants
        and retention; `with_input` also its uploads, copied inside the store.

        Raises Unreachable or NotFound naming the clone where its uploads could not all be copied."""
        original = self.get(query)
        name = check_name(name)
        stamp = self._link.stamp()
        made = self._made(
            name,
            lambda id_: lifecycle.clone(
                original, id=id_, event_id=stamp["id"], name=name, author=stamp["by"], at=stamp["at"],
                with_input=with_input,
            ),
        )  # fmt: skip
        if with_input:
            self._copy_input(original.id, made.id)
        return made

    def _copy_input(self, source: str, target: str) -> None:
        store, patience = self._link.store, self._link.patience
        prefix = layout.project_input(source)
        objects: list[ObjectInfo] = patience.ask(lambda: list(store.walk(prefix)))

        def copy(number: int) -> str:
            key = objects[number].key
            path = key.removeprefix(prefix)
            return patience.ask(lambda: store.copy(key, layout.project_input(target, path)))

        try:
            in_parallel(READERS, "copies", copy, range(len(objects)))
        except (Unreachable, NotFound) as error:
            raise type(error)(
                f"{target} is made, not yet all its input: {error}",
                hint=f"remove it and clone again: winslow project delete {target}",
            ) from error
        size = sum(info.size for info in objects)
        self._link.say(f"{len(objects)} files of its input copied inside the store, {size_text(size)}")

    def _made(self, name: str, make: Callable[[str], Project]) -> Project:
        for _ in range(_ID_TRIES):
            letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
            project = make(f"{slug(name)}-{letters}")
            try:
                self._link.documents.create(project)
            except Conflict:
                continue  # four letters are not many: draw again
            self._link.tell(None, project)
            return project
        raise Conflict(f"no free id for a project called '{name}' was found", hint="choose another name")

    def delete(self, query: str) -> str:
        """Delete a project with every file, log and record (R1250); its id. Its active attempts are stopped."""
        project = self.get(query)
        self._link.change(project.id, events.Deleted(**self._link.stamp()))
        try:
            self._link.store.delete_prefix(layout.project(project.id))
        except Unreachable as error:
            self._link.say(
                f"{project.id} is deleted, not yet all its files: {error}; the agents go on with that"
            )
        return project.id

    # -- changing

    def rename(self, query: str, name: str) -> Project:
        """Another name; the id stays. Raises Conflict where somebody renamed it meanwhile."""
        project = self.get(query)
        event = events.Renamed(before=project.name, name=check_name(name), **self._link.stamp())
        return self._link.change(project.id, event)

    def tag(self, query: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Project:
        """Add and remove tags (R1240)."""
        added = tuple(check_tag(tag) for tag in add)
        event = events.TagsChanged(add=added, remove=tuple(remove), **self._link.stamp())
        return self._link.change(self.id_of(query), event)

    def participate(self, query: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Project:
        """Add and remove people."""
        added = tuple(check_tag(person) for person in add)
        event = events.ParticipantsChanged(add=added, remove=tuple(remove), **self._link.stamp())
        return self._link.change(self.id_of(query), event)

    def set_env(self, query: str, values: Mapping[str, str], *, unset: Sequence[str] = ()) -> Project:
        """The project's environment, for runs to come. Raises NotFound for a name to take away that is not set."""
        project = self.get(query)
        for name in unset:
            if name not in project.env:
                raise NotFound(
                    f"{project.id}: '{name}' is not set for the project",
                    hint=f"winslow project env {project.id} shows where a value comes from",
                )
        event = events.EnvChanged(
            set=self.checked_env(values, where="environment"),
            unset=_checked(_NAMES, tuple(unset), "environment"),
            **self._link.stamp(),
        )
        return self._link.change(project.id, event)

    def prioritize(self, query: str, priority: int) -> Project:
        """Offers of a higher priority are bid on first; 0 is usual."""
        return self._link.change(
            self.id_of(query), events.PriorityChanged(priority=priority, **self._link.stamp())
        )

    def comment(self, query: str, text: str) -> Project:
        """A text about the project; empty for none."""
        event = events.CommentChanged(comment=check_comment(text), **self._link.stamp())
        return self._link.change(self.id_of(query), event)

    def archive(self, query: str, *, archived: bool = True) -> Project:
        """Put it away, or take it back. Raises Refused while a run is active."""
        return self._link.change(self.id_of(query), events.Archived(archived=archived, **self._link.stamp()))

    def retain(self, query: str, retention: Retention | None) -> Project:
        """Which runs keep their files; None: as its pipeline says."""
        event = events.RetentionChanged(retention=retention, **self._link.stamp())
        return self._link.change(self.id_of(query), event)

    def change_pipeline(
        self,
        seen: Project,
        definition: PipelineDefinition,
        *,
        source: str | None = None,
        source_revision: int | None = None,
    ) -> Project:
        """Give the project another own copy, edited or taken from `source`; `seen` is what the person looked at.

        Raises Conflict, which says what somebody else has changed of it since."""
        event = events.PipelineChanged(
            definition=definition,
            base=seen.pipeline.edition,
            source=source,
            source_revision=source_revision,
            **self._link.stamp(),
        )
        try:
            return self._link.change(seen.id, event)
        except Conflict as error:
            now = self.get(seen.id).pipeline.definition
            what = sentence(pipeline_changes(seen.pipeline.definition, now), most=20)
            raise Conflict(f"{error}: {what}", hint=error.hint) from error

    # -- values

    def checked_env(self, env: Mapping[str, str], *, where: str = "--env") -> dict[str, str]:
        """Environment as it is stored: names checked, a project's name in an address replaced by its id.

        Raises UsageError naming `where`, NotFound for an address of a project that is not there."""
        checked = _checked(_ENV, dict(env), where)
        return {name: self.full_address(value) for name, value in checked.items()}

    def full_address(self, value: str) -> str:
        """An address with the project's whole id; any other text as it is."""
        if not address.looks_like(value):
            return value
        where = address.parse(value)
        if where.place == "resources":
            return value
        return self.id_of(where.project) + value[len(where.project) :]


def _checked(adapter: TypeAdapter[T], value: T, where: str) -> T:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        said = "; ".join(str(detail["ctx"]["error"]) for detail in error.errors(include_url=False))
        raise UsageError(f"{where}: {said}") from None
