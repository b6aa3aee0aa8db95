"""What an attempt shows to those who watch it: its events, its phase and progress, its use of the machine.

All of it may be lost without harm, but for events and log, which the shipper keeps on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker import messages, topics
from broker.messages import Phase
from node_agent.logship import LogShipper
from node_agent.tools import Tools
from winslow.metrics import ContainerSample
from winslow.project import Run

PROGRESS_SECONDS = 0.5  # between two messages about bytes
_MOST_TEXT = 400


class Telling:
    """For one attempt, whose directory is `home`. `changed` is called when `phase` or `percent` changes; with
    `own_progress` the `NN %` of the log are not the stage's progress."""

    def __init__(
        self,
        *,
        project: str,
        run: int,
        attempt: int,
        home: Path,
        tools: Tools,
        changed: Callable[[], None],
    ) -> None:
        self.phase: str = ""
        self.percent: float | None = None
        self.own_progress = False
        self.spool = tools.spools / f"{home.parent.name}.{home.name}"
        """Where log and events lie until the attempt is gone."""
        self._where = {"project": project, "run": run, "attempt": attempt}
        self._tools = tools
        self._changed = changed
        self._shipper: LogShipper | None = None
        self._progressed = 0.0

    @property
    def shipper(self) -> LogShipper:
        """Between `open` and `close`."""
        assert self._shipper is not None
        return self._shipper

    def open(self) -> LogShipper:
        """Begin: a shipper to be entered (`async with`)."""
        tools = self._tools
        topic = self._topic(topics.Log)
        self._shipper = LogShipper(
            **self._where,  # type: ignore[arg-type]
            directory=self.spool,
            store=tools.store,
            executor=tools.executor,
            publish=lambda offset, data: tools.publish(topic, messages.LogChunk(offset=offset, data=data)),
            now=tools.clock.wall,
            monotonic=tools.clock.monotonic,
            limit=tools.log_limit,
            told=self._told,
        )
        return self._shipper

    def close(self) -> None:
        """Nothing of the attempt may be written behind what follows."""
        self._shipper = None
        self._tools.publish(self._topic(topics.Progress), None)

    def event(self, kind: str, text: str, data: dict[str, Any] | None = None) -> None:
        """One of our own events, into the attempt's record; after `close` nobody hears it."""
        if self._shipper is not None:
            self._shipper.event(kind, text, data or {})

    def claimed(self, run: Run) -> None:
        """Who got the run, and what the others offered."""
        bids = run.attempt.bids if run.attempt else ()
        data = {"bids": [bid.model_dump(mode="json") for bid in bids]}
        self.event("claimed", _claim_sentence(run, self._tools.node), data)

    def adopted(self, run: Run) -> None:
        """The same, where the container of a lost attempt goes on."""
        attempt = run.attempt
        if attempt is not None and attempt.adopted_from is not None:
            bids = [bid.model_dump(mode="json") for bid in attempt.bids]
            sentence = _claim_sentence(run, self._tools.node)
            text = f"adopted from attempt {attempt.adopted_from}, whose container goes on; {sentence}"
            self.event("adopted", text, {"attempt": attempt.adopted_from, "bids": bids})

    def enter(self, phase: Phase) -> None:
        """Say that a phase begins."""
        if phase.value != self.phase:
            self.progress(phase)
            self._changed()

    def progress(
        self, phase: Phase, *, done: int = 0, total: int = 0, percent: float | None = None, text: str = ""
    ) -> None:
        """How far a phase is, in bytes or percent; not too often."""
        now = self._tools.clock.monotonic()
        if phase.value == self.phase and now - self._progressed < PROGRESS_SECONDS and percent is None:
            return
        self._progressed = now
        self.phase = phase.value
        if percent is None and total:
            percent = min(100.0, 100.0 * done / total)
        self._tools.publish(
            self._topic(topics.Progress),
            messages.Progress(
                phase=phase, percent=percent, bytes=min(done, 2**62), total=total, text=text[:_MOST_TEXT]
            ),
        )

    def used(self, sample: ContainerSample) -> None:
        """One sample of what the stage uses."""
        self._tools.publish(self._topic(topics.Stats), sample)

    def at(self, percent: float | None) -> None:
        """How far the stage says it is."""
        self.percent = percent
        self.progress(Phase.RUN, percent=percent)
        self._changed()

    def _told(self) -> None:
        self.at(self.percent if self.own_progress else self.shipper.percent)

    def _topic(self, kind: type[Any]) -> Any:
        return kind(**self._where)


def _claim_sentence(run: Run, node: str) -> str:
    attempt = run.attempt
    if attempt is None:
        return f"claimed by {node}"
    shown = []
    for bid in attempt.bids:
        if bid.kind == "bid":
            parts = ", ".join(f"{name} {seconds:g}" for name, seconds in bid.parts.items())
            shown.append(f"{bid.node} {bid.cost or 0:g} s ({parts})")
        else:
            shown.append(f"{bid.node} {bid.kind}: {bid.reason}")
    return f"claimed by {attempt.node}; bids: {'; '.join(shown) or 'none heard'}"
