"""The daemon: one per node. It makes the node known, bids on what waits, runs what it won (design 4 to 6).

Everything here runs in one event loop; whatever blocks (store, files) runs in one bounded executor.
Stopping the agent leaves its containers alone: the next agent adopts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from broker import messages, topics
from broker.codec import Payload
from broker.notices import notices, wish_notice
from broker.session import Received, Session
from broker.topics import Topic
from node_agent import recovery
from node_agent.alive import Alive, Lookout
from node_agent.attempt import Attempt
from node_agent.bidding import Bidding
from node_agent.claiming import Claiming
from node_agent.clock import Clock
from node_agent.deletions import Deletions
from node_agent.disowning import Disowning
from node_agent.entropy import Entropy
from node_agent.fill import Fill
from node_agent.hardware import Sampler
from node_agent.holdings import Holdings
from node_agent.journal import AttemptJournal
from node_agent.livefiles import LiveFiles
from node_agent.mirror import Mirror
from node_agent.presence import PRESENCE_SECONDS, OwnPresence
from node_agent.prunes import Prunes
from node_agent.reservations import Key, Reservations
from node_agent.sampling import sampling
from node_agent.tools import Tools
from node_agent.wishes import WishMirror
from winslow.errors import InvalidInput, Refused, Unreachable, WinslowError
from winslow.hold import Keeper
from winslow.node import ActiveRun, Hardware, NodeState, Presence
from winslow.node_wish import NodeWish, effective_labels
from winslow.project import Project, RunState, Tombstone
from winslow.store.documents import Documents
from winslow.store.port import ObjectStore
from winslow.store.wishes import Wishes

SECRETS_SECONDS = 10.0
SNAPSHOT_SECONDS = 10.0
_RETRY_FIRST, _RETRY_LONGEST = 0.5, 15.0
T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """Who this agent is. `instance` is new at every start, `node_uuid` lasts as long as the data directory."""

    site: str
    node: str
    node_uuid: str
    instance: str
    host: str
    boot_id: str
    version: str
    labels: tuple[str, ...] = ()


class Agent:
    """See the module. `run` ends only by cancellation, or by an error no restart of a part can heal.

    `trusted` is set once the store is known to let one conditional write win; nothing is claimed before. `skew` tells
    the seconds that this machine's clock is ahead of the store's, which people are shown and nothing is decided by."""

    def __init__(
        self,
        *,
        identity: Identity,
        hardware: Hardware,
        session: Session,
        store: ObjectStore,
        tools: Callable[[Mirror, Callable[[Topic, Payload | None], None]], Tools],
        executor: Executor,
        clock: Clock,
        jitter: Callable[[], float],
        sampler: Sampler,
        secrets: tuple[str, ...],
        skew: Callable[[], int | None],
        trusted: asyncio.Event,
    ) -> None:
        self.identity = identity
        self._session = session
        self._store = store
        self._executor = executor
        self._clock = clock
        self._jitter = jitter
        self._sampler = sampler
        self._skew = skew
        self._trusted = trusted
        self._secrets = secrets
        self._nodes: dict[str, NodeState] = {}
        self._sees_all = False  # every node's retained state has come in on this connection
        self._holdings = Holdings()
        self._left_alone: list[AttemptJournal] = []
        self._recovered = False
        self._alone = False  # no other node is known to be online under this name
        self._takes_part = False  # until it is known what is left here, and that the store is sound
        self._presence = OwnPresence(state=self.state, publish=self._publish_presence)
        self._say = self._presence.say
        self._group: asyncio.TaskGroup | None = None
        self.reservations = Reservations(hardware)
        documents = Documents(store)
        self.mirror = Mirror(documents=documents, executor=executor, on_change=self._changed)
        self.wishes = WishMirror(
            node=identity.node, wishes=Wishes(store), executor=executor, on_change=self._wish_changed
        )
        self._tools = tools(self.mirror, self._publish)
        self._claiming = Claiming(
            tools=self._tools,
            mirror=self.mirror,
            holdings=self._holdings,
            reservations=self.reservations,
            patiently=self._patiently,
            adopt=self._adopt,
            say=self._say,
        )
        self._disowning = Disowning(
            node=identity.node,
            node_uuid=identity.node_uuid,
            mirror=self.mirror,
            holdings=self._holdings,
            claiming=self._claiming,
            alone=lambda: self._alone,
            clock=clock,
            spawn=self._spawn,
            say=self._say,
        )
        self.bidding = Bidding(
            node=identity.node,
            instance=identity.instance,
            reservations=self.reservations,
            keeper=Keeper(node=identity.node),
            others=lambda: tuple(self._nodes.values()),
            me=self.state,
            estimate=self._claiming.estimate,
            holding=self._holdings.holding,
            publish=self._publish_bid,
            claim=self._claiming.claim,
            changed=self._presence.soon,
            clock=clock.monotonic,
        )
        self._entropy = Entropy(
            mirror=self.mirror,
            wishes=self.wishes,
            nodes=self._all_nodes,
            publish=self._publish,
            wall=clock.wall,
            new_id=clock.new_id,
        )
        self._deletions = Deletions(
            store=store, documents=documents, executor=executor, clock=clock.monotonic
        )
        self._prunes = Prunes(store=store, documents=documents, executor=executor)
        self._alive = Alive(
            node=identity.node,
            node_uuid=identity.node_uuid,
            instance=identity.instance,
            store=store,
            executor=executor,
            held=lambda: self._holdings.lost_afters(self.mirror),
            say=self._say,
        )
        self._lookout = Lookout(
            node=identity.node,
            store=store,
            executor=executor,
            mirror=self.mirror,
            clock=clock,
            random=jitter,
            say=self._say,
        )

        self._fill = Fill(
            cache=self._tools.cache,
            executor=executor,
            busy=lambda: bool(self._holdings.projects()),
            changed=self._presence.soon,
            say=partial(self._say, about="cache"),
        )
        self._files = LiveFiles(
            node=identity.node,
            store=store,
            home=self._home,
            publish=self._publish,
            patiently=self._patiently,
            spawn=self._spawn,
            monotonic=clock.monotonic,
        )

    # -- what others see

    def state(self) -> NodeState:
        """This node as its presence says it now."""
        who, wish = self.identity, self.wishes.own
        draining = not self._takes_part or (wish is not None and wish.drain is not None)
        return NodeState(
            node=who.node,
            node_uuid=who.node_uuid,
            instance=who.instance,
            presence=Presence.DRAINING if draining else Presence.ONLINE,
            host=who.host,
            boot_id=who.boot_id,
            version=who.version,
            runtime=(self._tools.runtime.name,),
            hardware=self.reservations.hardware,
            free=self.reservations.free(),
            labels=effective_labels(who.labels, wish),
            configured_labels=who.labels,
            secrets=self._secrets,
            runs=tuple(
                ActiveRun(project=key[0], run=key[1], attempt=key[2], stage=each.stage, phase=each.phase)
                for key, each in self._holdings.in_order()
            ),
            reserved=self.reservations.all(),
            hold=self.bidding.hold,
            cached=self._fill.bytes,
            skew=self._skew(),
            wall=self._clock.wall(),
            note=self._presence.note,
        )

    def _all_nodes(self) -> dict[str, NodeState]:
        """This node and the others, as far as they are known here."""
        return {**self._nodes, self.identity.node: self.state()}

    def goodbye(self) -> NodeState:
        """What is published when the agent stops cleanly."""
        return self.state().model_copy(update={"presence": Presence.OFFLINE})

    def _publish(self, topic: Topic, payload: Payload | None) -> None:
        try:
            if payload is None:
                self._session.clear(topic)
            else:
                self._session.publish(topic, payload)
        except InvalidInput as error:
            self._say(str(error), about="messages")  # too large, say: others read the document instead

    def _publish_presence(self, state: NodeState) -> None:
        self._publish(topics.NodeState(node=state.node), state)

    def _publish_bid(self, bid: messages.BidMessage) -> None:
        self._publish(topics.Bid(project=bid.project, run=bid.run, attempt=bid.attempt, node=bid.node), bid)

    # -- life

    async def run(self) -> None:
        """Recover what an earlier agent left, then take part until cancelled: that is a clean stop, and marked."""
        try:
            await self._take_part()
        except asyncio.CancelledError:
            await self._alive.stop()
            raise

    async def _take_part(self) -> None:
        await self._session.subscribe(topics.NODE_STATES)
        await self._session.subscribe(topics.NODE_WISHES)
        await self._session.subscribe(topics.PROJECT_STATES)
        await self._session.subscribe(topics.OFFERS)
        await self._session.subscribe(topics.BIDS, qos=1)
        await self._session.subscribe(topics.requests(self.identity.node), qos=1)
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._receive(), name="receive")
            await self._refuse_a_double()
            group.create_task(self._presence.keep(), name="presence")
            group.create_task(self._watch_secrets(), name="secrets")
            await self._recover()
            group.create_task(self._watch_connection(), name="connection")
            group.create_task(self._sweep(), name="anti-entropy")
            group.create_task(
                sampling(
                    node=self.identity.node,
                    sampler=self._sampler,
                    publish=self._publish,
                    executor=self._executor,
                    monotonic=self._clock.monotonic,
                ),
                name="metrics",
            )
            group.create_task(self._fill.run(), name="fill")
            group.create_task(self._watch_wishes(), name="wishes")
            group.create_task(self._alive.run(), name="alive")
            group.create_task(self._lookout.run(), name="lookout")
            group.create_task(self._begin_bidding(), name="begin bidding")

    async def close(self) -> None:
        """After `run` was cancelled: stop reading and bidding."""
        self._files.close()
        await self.bidding.close()
        await self.mirror.close()
        await self.wishes.close()

    async def _refuse_a_double(self) -> None:
        """Raises Refused while another node is online under this name (design 6, Identity)."""
        try:
            found = await self._session.snapshot(
                topics.NodeState(node=self.identity.node).path, SNAPSHOT_SECONDS
            )
        except Unreachable:
            self._alone = False  # without a broker nobody can be asked
            return
        for each in found:
            known = each.payload
            if (
                isinstance(known, NodeState)
                and known.presence is not Presence.OFFLINE
                and known.node_uuid != self.identity.node_uuid
            ):
                raise Refused(
                    f"another node is online as '{known.node}' (on {known.host})",
                    hint="give this agent another name: --name, or [agent] name in its configuration",
                )
        self._alone = True

    async def _recover(self) -> None:
        await self._patiently(self._heed)
        found = await self._patiently(lambda: recovery.find(self._tools, self.mirror))
        self._left_alone = list(found.left_alone)
        for journal in found.adopted:
            self._adopt(journal)
            self._files.adopted((journal.project, journal.run, journal.attempt))
        for bad in found.bad:
            self._say(f"{bad.path}: {bad.why}", about=str(bad.path))
        self._recovered = True
        self._disowning.look_at_all()
        self._presence.changed()

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it until the store answers; the presence says that it does not."""
        wait = _RETRY_FIRST
        while True:
            try:
                result = await work()
            except WinslowError as error:
                # The plain class: the store lets nobody in, because of a clock that is off or wrong keys.
                if not (isinstance(error, Unreachable) or type(error) is WinslowError):
                    raise
                self._say(str(error))
                await asyncio.sleep(wait * (0.5 + self._jitter() / 2))
                wait = min(wait * 2, _RETRY_LONGEST)
                continue
            self._say("")
            return result

    # -- messages

    async def _receive(self) -> None:
        async for received in self._session.messages():
            self._handle(received)

    def _handle(self, received: Received) -> None:
        payload = received.payload
        match received.topic:
            case topics.NodeState(node=node):
                state = payload if isinstance(payload, NodeState) else None
                self._see_node(node, state)
            case topics.NodeWish(node=node):
                wanted = payload.revision if isinstance(payload, messages.WishNotice) else None
                self._entropy.saw_wish(node, wanted)
                if node == self.identity.node:
                    self.wishes.hint(node, wanted)
            case topics.ProjectState(project=project):
                shown = payload if isinstance(payload, messages.ProjectSummary) else None
                self._entropy.saw_state(project, shown)
                revision = shown.revision if shown is not None else None
                self.mirror.hint(project, revision, hurry=self._concerned(project, shown))
            case topics.Offer(project=project) as offer:
                self._entropy.saw_offer(offer, present=payload is not None)
                if isinstance(payload, messages.OfferHint):
                    self.mirror.hint(project, payload.revision)
            case topics.Progress() as progress if payload is not None:
                self._entropy.saw_progress(progress)
            case topics.Bid() if isinstance(payload, messages.BidMessage):
                self.bidding.bid(payload)
            case topics.Request(client=client) if not received.retained and self._recovered:
                if isinstance(payload, messages.FilesRequest):
                    self._files.request(client, payload)
            case _:
                pass

    def _concerned(self, project: str, summary: messages.ProjectSummary | None) -> bool:
        """Whether this node may have something to do: a run waits, or it holds one of the project's. How far other
        nodes are with theirs is no hurry."""
        waits = summary is None or any(run.state is RunState.QUEUED for run in summary.active)
        return waits or project in self._holdings.projects()

    def _see_node(self, node: str, state: NodeState | None) -> None:
        if node == self.identity.node:
            if state is None or state.instance != self.identity.instance:
                self._presence.changed()  # a late will of an earlier instance: say again who is here
            return
        if state is None:
            self._nodes.pop(node, None)
        else:
            known = self._nodes.get(node)
            late_will = state.presence is Presence.OFFLINE and known and known.instance != state.instance
            if late_will:
                return
            self._nodes[node] = state
        self.bidding.presence(node, state)
        self._lookout.presence(node, state)

    async def _watch_connection(self) -> None:
        while True:
            try:
                await self._session.wait_connected(PRESENCE_SECONDS)
                await self._refuse_a_double()
                for each in await self._session.snapshot(topics.NODE_STATES, SNAPSHOT_SECONDS):
                    self._handle(each)
                shown = await self._session.snapshot(topics.NODE_WISHES, SNAPSHOT_SECONDS)
                shown += await self._session.snapshot(topics.PROJECT_TOPICS, SNAPSHOT_SECONDS)
            except Unreachable as error:
                self._say(str(error), about="broker")
                self._entropy.due.set()  # nobody tells of what is new: look
                continue
            self._say("", about="broker")
            self._sees_all = True
            self._entropy.forget()
            for each in shown:
                self._handle(each)
            self.bidding.broker(True)
            self._lookout.broker(True)
            self._entropy.due.set()
            await self._session.wait_disconnected()
            self._sees_all = False
            self.bidding.broker(False)
            self._lookout.broker(False)
            self._entropy.due.set()

    # -- what people want of this node

    async def _heed(self) -> None:
        """Read it before anything is bid on; a node that was forgotten is back."""
        await self.wishes.read_own()
        await self._come_back()

    async def _come_back(self) -> None:
        await self.wishes.come_back(event_id=self._clock.new_id(), at=self._clock.wall())

    def _wish_changed(self, node: str, _old: NodeWish | None, new: NodeWish | None, *, own: bool) -> None:
        if own and new is not None:
            self._publish(*wish_notice(new))
        if node != self.identity.node:
            return
        drain = new.drain if new is not None else None
        self._say(drain.sentence if drain is not None else "", about="drain")
        if new is not None and new.forgotten:
            self._entropy.due.set()  # the sweep says that this node is here
        self._presence.changed()
        self.bidding.resources_changed()

    # -- documents

    def _changed(
        self, project_id: str, old: Project | Tombstone | None, new: Project | Tombstone | None, *, own: bool
    ) -> None:
        for journal in [each for each in self._left_alone if each.project == project_id]:
            self._left_alone.remove(journal)
            self._adopt(journal)
        for attempt in self._holdings.of_project(project_id):
            attempt.document(new)
        if self._takes_part:
            self.bidding.document(project_id, new)
        self._lookout.document(project_id, new)
        if own:
            self._tell(project_id, old, new)
        if self._recovered:
            self._disowning.look(project_id, new)

    def _tell(
        self, project_id: str, old: Project | Tombstone | None, new: Project | Tombstone | None
    ) -> None:
        """Publish what this agent's own write means for the others."""
        percents = self._holdings.percents(project_id)
        try:
            told = notices(
                old=old,
                new=new,
                project_id=project_id,
                updated=self._clock.wall(),
                percents=percents,
                nodes=list(self._all_nodes().values()) if self._sees_all else None,
            )
        except ValueError as error:  # the document holds what no message may: the write stands all the same
            self._say(f"{project_id}: {error}", about="messages")
            return
        for topic, payload in told:
            self._publish(topic, payload)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        assert self._group is not None

        async def run() -> None:
            await work

        self._group.create_task(run(), name=name)

    async def _sweep(self) -> None:
        while True:
            me, online = self.identity.node, self._online()
            wait = self._entropy.interval(me=me, online=online, connected=self._session.connected)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait * (0.75 + self._jitter() / 2)):
                    await self._entropy.due.wait()
            self._entropy.due.clear()
            try:
                listing = await self.mirror.sweep()
                await self.wishes.compare(listing.nodes)
                await self._come_back()
                self._disowning.look_at_all()
                if self._session.connected:
                    await self._entropy.heal(self._store, self._executor)
                if not self._session.connected or self._entropy.sweeps(me=me, online=self._online()):
                    await self._deletions.finish(self.mirror.all())
                    await self._prunes.finish(self.mirror.all())
            except Unreachable as error:
                self._say(str(error))
                await asyncio.sleep(1.0 + self._jitter())
                self._entropy.due.set()
            except WinslowError as error:
                self._say(str(error))
            else:
                self._say("")
                self._say(self.mirror.problem or self.wishes.problem, about="documents")

    def _online(self) -> list[str]:
        """The other nodes that are there."""
        return [node for node, state in self._nodes.items() if state.presence is not Presence.OFFLINE]

    async def _watch_wishes(self) -> None:
        """Without a broker nobody tells of an abort: read the own attempts' documents every 5 s (design 5.5)."""
        while True:
            await asyncio.sleep(5.0)
            if self._session.connected:
                continue
            for project in self._holdings.projects():
                self.mirror.hint(project, None)

    async def _watch_secrets(self) -> None:
        """People may change the node's file of secrets while the agent runs: look now and then."""
        while True:
            names: tuple[str, ...] = ()
            try:
                names = await asyncio.get_running_loop().run_in_executor(
                    self._executor, self._tools.vault.names
                )
            except InvalidInput as error:
                self._say(str(error), about="secrets")
            else:
                self._say("", about="secrets")
            if names != self._secrets:
                self._secrets = names
                self._presence.changed()
                self.bidding.resources_changed()
            await asyncio.sleep(SECRETS_SECONDS)

    # -- elections

    async def _begin_bidding(self) -> None:
        await self._trusted.wait()
        self._takes_part = True
        self._presence.changed()
        for document in self.mirror.all():
            self.bidding.document(document.id, document)

    # -- attempts

    def _home(self, key: Key) -> Path | None:
        """The directory of an attempt that is here; None for others."""
        attempt = self._holdings.get(key)
        return self._tools.journals.home(attempt.journal) if attempt is not None else None

    def _renumbered(self, old: Key) -> None:
        """A kept attempt goes on under the number that was claimed for it."""
        self._files.over(old)
        attempt = self._holdings.rename(old)
        self.reservations.rename(old, attempt.key)
        self._alive.wake()
        attempt.document(self.mirror.get(attempt.key[0]))
        self._presence.changed()

    def _rests(self) -> None:
        """A lost attempt's container can go on."""
        self._presence.changed()
        self.bidding.resources_changed()

    def _adopt(self, journal: AttemptJournal) -> None:
        """Let an attempt live: just claimed, or left by an earlier agent."""
        key = (journal.project, journal.run, journal.attempt)
        document = self.mirror.get(journal.project)
        run = document.run(journal.run) if isinstance(document, Project) else None
        if run is not None:
            self.reservations.restore(key, run.stage.requires, journal.gpus)
        attempt = Attempt(
            journal=journal,
            tools=self._tools,
            changed=self._presence.soon,
            spent=lambda: self._release(attempt.key),
            rests=self._rests,
            renumbered=self._renumbered,
        )
        self._holdings.add(attempt)
        self._alive.wake()
        self._fill.wake()
        attempt.document(document)
        self._presence.soon()
        self._spawn(self._live(attempt), f"attempt {journal.name}")

    async def _live(self, attempt: Attempt) -> None:
        try:
            await attempt.run()
        except Exception as error:
            # One attempt's trouble (a full or broken disk, an engine that refuses) must not end the agent.
            self._say(f"attempt {attempt.journal.name}: {error}", about=f"attempt {attempt.journal.name}")
            await self._patiently(partial(attempt.give_up, error))
        finally:
            self._holdings.remove(attempt)
            self._fill.wake()
            self._release(attempt.key)
        self._files.over(attempt.key)  # not where the agent stops: the attempt goes on

    def _release(self, key: Key) -> None:
        self.reservations.release(key)
        self._presence.changed()
        self.bidding.resources_changed()
