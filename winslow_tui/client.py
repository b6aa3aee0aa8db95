"""The one facade under both faces: every command of a person as a method.

A command changes a document in the store (that is what counts) and then tells the broker, so that
others see it at once. A broker that is away costs time, never the command: `say` gets a sentence.
All methods block. Errors are `winslow.errors`.
"""

from __future__ import annotations

import getpass
import secrets
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from winslow import address, events, lifecycle, pipeline
from winslow.config import Config
from winslow.definition_diff import pipeline_changes, sentence
from winslow.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Unreachable,
    UsageError,
)
from winslow.metrics import HistoryPoint, NodeHistory
from winslow.node import NodeState
from winslow.pipeline import Env, PipelineDefinition
from winslow.project import Project, RunState, Tombstone
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.patience import Patience
from winslow.store.pipelines import PipelineHead, Pipelines, PipelineText
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectStore
from winslow_tui.names import check_name, nearest, pick, slug

if TYPE_CHECKING:
    from broker.messages import WishNotice
    from broker.notices import Notice
    from broker.session import Received
    from winslow_tui.node_wishes import NodeWishes

READERS = 8
STORE_SECONDS = 12.0  # how long a write goes on against a store that does not answer
_ID_TRIES = 5
_ENV: TypeAdapter[dict[str, str]] = TypeAdapter(Env)


@dataclass(frozen=True)
class Definition:
    """A pipeline as it stands in the store."""

    head: PipelineHead
    text: str
    definition: PipelineDefinition


@dataclass(frozen=True)
class Unreadable:
    """A project whose document this program cannot read; `why` is a sentence."""

    id: str
    why: str


@dataclass(frozen=True)
class NodeUsage:
    """What the broker keeps of nodes, by name."""

    states: dict[str, NodeState]
    wishes: dict[str, WishNotice]
    usage: dict[str, HistoryPoint]


def _silent(_text: str) -> None:
    """Nobody listens."""


class Client:
    """One person's commands to one site. `say` takes sentences for people (stderr)."""

    def __init__(
        self, config: Config, *, say: Callable[[str], None] = _silent, store: ObjectStore | None = None
    ) -> None:
        self.config = config
        self.say = say
        self._given = store

    @cached_property
    def store(self) -> ObjectStore:
        """The store, opened when first needed. Raises UsageError where nothing says where it is."""
        if self._given is not None:
            return self._given
        from winslow.store.s3 import S3Store

        return S3Store(self.config.store, read_timeout=30.0)

    @cached_property
    def documents(self) -> Documents:
        """Project documents."""
        return Documents(self.store, patience=Patience(deadline=STORE_SECONDS))

    @cached_property
    def pipelines(self) -> Pipelines:
        """Pipeline definitions."""
        return Pipelines(self.store, patience=Patience(deadline=STORE_SECONDS))

    # -- pipelines

    def apply_pipeline(
        self, text: str, *, source: str, if_revision: int | None = None
    ) -> tuple[PipelineDefinition, int]:
        """Check a definition and make it the current one of its name; with its revision.

        With `if_revision` only while that is the newest one. Raises Conflict.
        """
        definition = pipeline.parse(text, source=source)
        revision = self.pipelines.apply(
            definition.name, text, by=_author(), updated=_now(), if_revision=if_revision
        )
        self._tell_pipeline(definition.name, revision)
        return definition, revision

    def pipeline(self, name: str, *, revision: int | None = None) -> Definition:
        """The definition of that name, or an older revision of it. Raises as `pipeline_text`, or InvalidInput."""
        head, text = self.pipeline_text(name, revision=revision)
        return Definition(head=head, text=text, definition=pipeline.parse(text, source=f"pipeline {name}"))

    def pipeline_text(self, name: str, *, revision: int | None = None) -> PipelineText:
        """As `pipeline`, only the text. Raises NotFound with the nearest names."""
        with self._known_pipeline(name):
            return self.pipelines.read(name, revision=revision)

    def pipeline_history(self, name: str) -> list[PipelineHead]:
        """Who applied what when, newest first. Raises NotFound with the nearest names."""
        with self._known_pipeline(name):
            return self.pipelines.history(name)

    @contextmanager
    def _known_pipeline(self, name: str) -> Iterator[None]:
        try:
            yield
        except (NotFound, InvalidInput) as error:
            known = [head.name for head in self.pipelines.heads()]
            if name in known:
                raise
            raise NotFound(
                f"there is no pipeline '{name}'", hint=nearest(name, known, "winslow pipeline list")
            ) from error

    def newest_revisions(self, names: Iterable[str]) -> dict[str, int | None]:
        """The newest revision of each of these pipelines; None for one that is not there (any more).

        One whose document cannot be read is left out."""
        asked = sorted(set(names))

        def read(number: int) -> tuple[str, int | None] | None:
            try:
                head = self.pipelines.head(asked[number])
            except InvalidInput:
                return None
            return asked[number], head.revision if head is not None else None

        found = in_parallel(READERS, "pipelines", read, range(len(asked)))
        return dict(each for each in found if each is not None)

    def delete_pipeline(self, name: str) -> None:
        """Remove a definition; projects that use it have their own copy."""
        self.pipelines.delete(self.pipeline_head(name).name)
        self._tell_pipeline(name, None)

    def pipeline_head(self, name: str) -> PipelineHead:
        """The head of that name, also where its text is damaged. Raises NotFound with the nearest names."""
        heads = {head.name: head for head in self.pipelines.heads()}
        if name not in heads:
            raise NotFound(
                f"there is no pipeline '{name}'", hint=nearest(name, heads, "winslow pipeline list")
            )
        return heads[name]

    # -- projects

    def projects(self) -> list[Project | Tombstone | Unreadable]:
        """Every project, by id; what was deleted while reading is left out."""
        ids = sorted(self.documents.project_etags())

        def read(number: int) -> Project | Tombstone | Unreadable | None:
            try:
                return self.documents.read(ids[number]).document
            except NotFound:
                return None
            except InvalidInput as error:
                return Unreadable(id=ids[number], why=str(error))

        found = in_parallel(READERS, "projects", read, range(len(ids)))
        return [each for each in found if each is not None]

    def project_id(self, query: str) -> str:
        """The id of the project a person means. Raises NotFound or Conflict with the candidates."""
        ids = self.documents.project_etags()
        if query in ids:
            return query
        every = self.projects()
        return pick(query, {each.id: each.name for each in every if isinstance(each, Project)})

    def project(self, query: str) -> Project:
        """The project a person means."""
        document = self.documents.read(self.project_id(query)).document
        if isinstance(document, Tombstone):
            raise NotFound(f"project '{document.id}' was deleted")
        return document

    def create_project(
        self, name: str, *, pipeline: str, tags: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> Project:
        """A new project with its own copy of the pipeline, paused before its first stage."""
        template = self.pipeline(pipeline)
        name = check_name(name)
        checked = self._checked_env(env or {})
        for _ in range(_ID_TRIES):
            letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
            project = lifecycle.create(
                id=f"{slug(name)}-{letters}",
                event_id=_event_id(),
                name=name,
                pipeline=template.definition,
                source_revision=template.head.revision,
                author=_author(),
                tags=tuple(dict.fromkeys(check_name(tag) for tag in tags)),
                env=checked,
                at=_now(),
            )
            try:
                self.documents.create(project)
            except Conflict:
                continue  # four letters are not many: draw again
            self._tell(None, project)
            return project
        raise Conflict(f"no free id for a project called '{name}' was found", hint="choose another name")

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
            **_stamp(),
        )
        try:
            return self._change(seen.id, event)
        except Conflict as error:
            now = self.project(seen.id).pipeline.definition
            what = sentence(pipeline_changes(seen.pipeline.definition, now), most=20)
            raise Conflict(f"{error}: {what}", hint=error.hint) from error

    def delete_project(self, query: str) -> str:
        """Delete a project with every file, log and record (R1250); its id. Its active attempts are stopped."""
        project = self.project(query)
        self._change(project.id, events.Deleted(**_stamp()))
        try:
            self.store.delete_prefix(layout.project(project.id))
        except Unreachable as error:
            self.say(f"{project.id} is deleted, not yet all its files: {error}; the agents go on with that")
        return project.id

    def start(
        self,
        query: str,
        *,
        stage: str | None = None,
        env: Mapping[str, str] | None = None,
        single: bool = False,
        comment: str = "",
    ) -> Project:
        """Queue a run of `stage`, or of the one that is next."""
        project = self.project(query)
        event = events.RunQueued(
            stage=stage,
            env=self._checked_env(env or {}),
            site_env=self.config.settings.site_env,
            advance="single" if single else "auto",
            comment=comment,
            **_stamp(),
        )
        return self._change(project.id, event)

    def pause(self, query: str, *, note: str = "") -> Project:
        """No next stage after the running one."""
        return self._change(self.project(query).id, events.Paused(note=note, **_stamp()))

    def resume(self, query: str) -> Project:
        """Go on: take a pause back while a stage is active, else queue the stage that is next."""
        project = self.project(query)
        if project.active:
            return self._change(project.id, events.Unpaused(**_stamp()))
        event = events.RunQueued(site_env=self.config.settings.site_env, **_stamp())
        return self._change(project.id, event)

    def abort(self, query: str, *, run: int | None = None) -> Project:
        """Stop what runs or waits; it counts as failed and the pipeline pauses (R1440)."""
        return self._change(self.project(query).id, events.AbortRequested(n=run, **_stamp()))

    # -- nodes

    @cached_property
    def node_wishes(self) -> NodeWishes:
        """What this person wants of nodes."""
        from winslow.store.wishes import Wishes
        from winslow_tui.node_wishes import NodeWishes

        wishes = Wishes(self.store, patience=Patience(deadline=STORE_SECONDS))
        return NodeWishes(self, wishes, stamp=_stamp, change=self._change, tell=self._broker)

    def nodes(self) -> list[NodeState]:
        """Every node that was ever seen and not removed, by name. Raises BrokerUnreachable or UsageError."""
        from broker import topics
        from winslow_tui import live

        found = [each.payload for each in live.retained(self.config, topics.NODE_STATES)]
        return sorted((each for each in found if isinstance(each, NodeState)), key=lambda node: node.node)

    def node_usage(self) -> NodeUsage:
        """Every node, what people want of it, and the newest point of its history. Raises as `nodes`."""
        from broker import messages, topics
        from winslow_tui import live

        found = NodeUsage(states={}, wishes={}, usage={})
        for each in live.retained(self.config, topics.NODE_STATES, topics.NODE_WISHES, topics.NODE_HISTORIES):
            if isinstance(each.payload, NodeState):
                found.states[each.payload.node] = each.payload
            elif isinstance(each.payload, messages.WishNotice):
                found.wishes[each.payload.node] = each.payload
            elif isinstance(each.payload, NodeHistory) and isinstance(each.topic, topics.NodeHistory):
                found.usage.update((each.topic.node, point) for point in each.payload.points[-1:])
        return found

    def nodes_if_known(self) -> list[NodeState] | None:
        """As `nodes`; None, and a sentence, when the broker cannot be asked."""
        try:
            return self.nodes()
        except (Unreachable, UsageError) as error:
            self.say(f"without the nodes' own word: {error}")
            return None

    def nodes_waited_for(
        self, projects: Iterable[Project | Tombstone | Unreadable]
    ) -> list[NodeState] | None:
        """As `nodes_if_known`, asked only where one of the projects waits for a node."""
        waiting = (
            isinstance(each, Project) and lifecycle.state_of(each)[0] is lifecycle.ProjectState.WAITING
            for each in projects
        )
        return self.nodes_if_known() if any(waiting) else None

    # -- inside

    def _change(self, project_id: str, event: events.Event) -> Project:
        """Apply an event, then tell the broker. A deletion returns the project as it was."""
        before: list[Project] = []

        def apply(project: Project, event: events.Event) -> Project | Tombstone:
            before[:] = [project]
            return lifecycle.apply(project, event)

        stored = self.documents.update(project_id, event, apply=apply).document
        old = before[0] if before else None
        self._tell(old, stored)
        if isinstance(stored, Project):
            return stored
        assert old is not None
        return old

    def _checked_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """Environment as it is stored: names checked, a project's name in an address replaced by its id."""
        try:
            checked = _ENV.validate_python(dict(env))
        except ValidationError as error:
            said = "; ".join(str(detail["ctx"]["error"]) for detail in error.errors(include_url=False))
            raise UsageError(f"--env: {said}") from None
        return {name: self.full_address(value) for name, value in checked.items()}

    def full_address(self, value: str) -> str:
        """An address with the project's whole id; any other text as it is."""
        if not address.looks_like(value):
            return value
        where = address.parse(value)
        if where.place == "resources":
            return value
        return self.project_id(where.project) + value[len(where.project) :]

    def _tell(self, old: Project | None, new: Project | Tombstone) -> None:
        from broker import topics
        from broker.notices import notices
        from winslow_tui import live

        if isinstance(new, Tombstone):
            told = notices(old=old, new=new, project_id=new.id)
            self._broker(lambda: live.clear(self.config, f"projects/{new.id}/#", told))
        else:
            waits = any(run.state is RunState.QUEUED for run in new.active)

            def messages(seen: list[Received]) -> list[Notice]:
                nodes = [each.payload for each in seen if isinstance(each.payload, NodeState)]
                return notices(
                    old=old,
                    new=new,
                    project_id=new.id,
                    updated=_now(),
                    nodes=nodes if waits else None,
                )

            filters = (topics.NODE_STATES,) if waits else ()
            self._broker(lambda: live.answer(self.config, filters, messages))

    def _tell_pipeline(self, name: str, revision: int | None) -> None:
        from broker import messages, topics
        from winslow_tui import live

        notice = messages.PipelineNotice(name=name, revision=revision) if revision is not None else None
        self._broker(lambda: live.publish(self.config, [(topics.PipelineNotice(name=name), notice)]))

    def _broker(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except (Unreachable, UsageError) as error:
            self.say(
                f"done, but the broker was not told ({error}); agents see it at their next look at the store"
            )


def _stamp() -> dict[str, str]:
    """What every event carries: a random id, the time (for people) and who."""
    return {"id": _event_id(), "at": _now(), "by": _author()}


def _event_id() -> str:
    return secrets.token_hex(8)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _author() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
