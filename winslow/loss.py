"""When a silent node's attempts are lost: silence counted in observations, never read off a clock (design 6, Loss).

A node that holds attempts writes a `Mark` with a rising counter to `alive/<node>` once per period. Every other
agent has a `Watch`. While a node is not present at the broker it is read once per period, and

    an interval between two reads counts    when both showed the same mark, at most 1.5 periods apart,
                                            with the broker connected and the node absent all the time
    it does not count                       before two periods after the watch's start, the broker's return or a
                                            read that failed
    anything else in between                sets the silence back to zero
    silence reached `lost_after`            one more read after a random part of a period, then `Loss`

Wall clocks are no input (invariant I5). A loss is an event fenced by the attempt's claim: a wrong one costs
work, never a second result. Seconds everywhere; `now` is monotonic, from any origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import InvalidInput
from winslow.project import Project, Tombstone
from winslow.quantities import LostAfter

LONGEST_PERIOD, SHORTEST_PERIOD = 30.0, 0.5
PERIODS = 10
"""How many marks a node must miss at least: `lost_after` below `PERIODS * SHORTEST_PERIOD` counts as that."""

DEFAULT_LOST_AFTER, DEFAULT_SHARE = 900.0, 0.05
REACH = 1.5
"""Periods between two reads that still see one unbroken interval."""

SETTLING = 2.0
"""Periods after a start or a trouble before anything counts: a living node has written by then."""


class Mark(BaseModel):
    """What a node writes to `alive/<node>`, as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    node_uuid: str
    instance: str  # of the agent's start: a counter that begins anew is another mark
    counter: int = Field(ge=0)
    stopped: bool = False  # a clean stop: the containers go on, and there is no loss by time

    def encode(self) -> bytes:
        """The object's bytes."""
        return self.model_dump_json().encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, *, key: str) -> Mark:
        """Raises InvalidInput naming `key`."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InvalidInput(f"{key}: not a node's sign of life: {error.errors()[0]['msg']}") from error


@dataclass(frozen=True)
class Held:
    """An attempt that a document says a node has."""

    project: str
    run: int
    attempt: int
    claim: str
    node: str
    node_uuid: str
    lost_after: LostAfter = None


@dataclass(frozen=True)
class Loss:
    """`held` is to be declared lost: its node was silent for `silent` seconds."""

    held: Held
    silent: float


def held_in(project_id: str, document: Project | Tombstone | None) -> tuple[Held, ...]:
    """The attempts that nodes have, as a document says."""
    if not isinstance(document, Project):
        return ()
    return tuple(
        Held(
            project=project_id,
            run=run.n,
            attempt=run.attempt.k,
            claim=run.attempt.claim,
            node=run.attempt.node,
            node_uuid=run.attempt.node_uuid,
            lost_after=run.stage.lost_after,
        )
        for run in document.active
        if run.state.held and run.attempt is not None
    )


def threshold(lost_after: LostAfter, *, watched: float) -> float | None:
    """Seconds of silence until an attempt that was seen for `watched` seconds is lost; None: never."""
    if lost_after == "never":
        return None
    if lost_after is None:
        return max(DEFAULT_LOST_AFTER, DEFAULT_SHARE * watched)
    return max(lost_after, PERIODS * SHORTEST_PERIOD)


def period(lost_afters: Iterable[LostAfter]) -> float:
    """Seconds between two marks of a node with such attempts, and between two reads of them."""
    limits = [limit for each in lost_afters if (limit := threshold(each, watched=0.0)) is not None]
    return min([LONGEST_PERIOD, *(limit / PERIODS for limit in limits)])


@dataclass
class _Reads:
    """What was read of one absent node since the last gap."""

    since: float  # the last trouble
    due: float
    at: float | None = None
    mark: Mark | None = None
    silent_from: float | None = None
    confirm_at: float | None = None


class Watch:
    """One agent's view of the other nodes' silence. `random` returns a number in 0 to 1."""

    def __init__(self, *, node: str, now: float, random: Callable[[], float]) -> None:
        self._node = node
        self._random = random
        self._since = now  # of the start, or of the broker's last coming or going
        self._connected = False
        self._present: set[str] = set()
        self._attempts: dict[str, dict[Held, float]] = {}  # by project; when each was seen first
        self._reads: dict[str, _Reads] = {}

    # -- what happened

    def broker(self, connected: bool, now: float) -> None:
        """The broker came or went; say True after its retained presences have come in."""
        self._connected = connected
        self._since = now
        self._reads.clear()
        if not connected:
            self._present.clear()  # a broker that was killed may have forgotten who was away
        self._arrange(now)

    def presence(self, node: str, present: bool, now: float) -> None:
        """The broker says that a node takes part, or is offline, or knows nothing of it."""
        if present:
            self._present.add(node)
        else:
            self._present.discard(node)
        self._arrange(now)

    def document(self, project_id: str, held: Iterable[Held], now: float) -> None:
        """A newer version of a document was read; `held` as from `held_in`."""
        before = self._attempts.pop(project_id, {})
        others = {each: before.get(each, now) for each in held if each.node != self._node}
        if others:
            self._attempts[project_id] = others
        self._arrange(now)

    def unread(self, node: str, now: float) -> None:
        """A read of a node's mark failed, or showed something that is none."""
        if node in self._reads:
            self._reads[node] = _Reads(since=now, due=now + self._period(node))

    def read(self, node: str, mark: Mark | None, now: float) -> tuple[Loss, ...]:
        """A node's mark was read, or that there is none; the attempts to declare lost now."""
        reads = self._reads.get(node)
        if reads is None:
            return ()
        step = self._period(node)
        last, same = reads.at, mark == reads.mark
        reads.at, reads.mark, reads.due = now, mark, now + step
        if last is None or not same or now - last > REACH * step or last < reads.since + SETTLING * step:
            reads.silent_from = reads.confirm_at = None
            return ()
        if reads.silent_from is None:
            reads.silent_from = last
        losses = tuple(self._overdue(node, mark, reads.silent_from, now))
        if not losses:
            reads.confirm_at = None
        elif reads.confirm_at is None:
            reads.confirm_at = reads.due = now + self._random() * step
        elif now >= reads.confirm_at:
            reads.confirm_at = None  # where the loss cannot be written, it is confirmed anew
            return losses
        return ()

    # -- what to do

    @property
    def due(self) -> float | None:
        """When the next node is to be read; None: nothing to watch."""
        return min((each.due for each in self._reads.values()), default=None)

    def to_read(self, now: float) -> list[str]:
        """The nodes to read now; answer each with `read` or `unread`."""
        return sorted(node for node, each in self._reads.items() if each.due <= now)

    # -- inside

    def _on(self, node: str) -> dict[Held, float]:
        seen = (item for each in self._attempts.values() for item in each.items())
        return {held: at for held, at in seen if held.node == node}

    def _period(self, node: str) -> float:
        return period(held.lost_after for held in self._on(node))

    def _overdue(self, node: str, mark: Mark | None, silent_from: float, now: float) -> Iterable[Loss]:
        for held, seen in self._on(node).items():
            if mark is not None and mark.stopped and mark.node_uuid == held.node_uuid:
                continue
            silent = now - max(silent_from, seen)
            limit = threshold(held.lost_after, watched=now - seen)
            if limit is not None and silent >= limit:
                yield Loss(held=held, silent=silent)

    def _arrange(self, now: float) -> None:
        """Read exactly the absent nodes with attempts that may be lost, while the broker can be believed."""
        wanted = {
            held.node
            for each in self._attempts.values()
            for held in each
            if held.node not in self._present and held.lost_after != "never"
        }
        if not self._connected:
            wanted = set()
        for node in self._reads.keys() - wanted:
            del self._reads[node]
        for node in wanted:
            reads = self._reads.setdefault(node, _Reads(since=self._since, due=now))
            reads.due = min(reads.due, now + self._period(node))
