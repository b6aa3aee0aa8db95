"""How an attempt ended: one reason, and a sentence a person understands. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.journal import AttemptJournal
from winslow.pipeline import StageDefinition
from winslow.placement import size_text
from winslow.project import Reason


@dataclass(frozen=True)
class Outcome:
    """What the document gets to know; `detail` is the sentence, empty for a success."""

    succeeded: bool
    reason: Reason | None = None
    detail: str = ""


def failed(reason: Reason, detail: str) -> Outcome:
    """An outcome that is none of the stage's making, or that its exit code says nothing about."""
    return Outcome(succeeded=False, reason=reason, detail=detail)


def judge(journal: AttemptJournal, stage: StageDefinition | None, *, aborted: bool) -> Outcome:
    """The outcome of an attempt whose exit stands in its journal; `stage` None where the document is not known."""
    code = journal.exit_code
    if aborted:
        return failed(Reason.ABORTED, "aborted")
    if journal.oom:
        limit = size_text(stage.requires.memory) if stage else "its limit"
        return failed(Reason.OOM, f"killed: out of memory (used {size_text(journal.peak.memory)} of {limit})")
    if code == 0:
        return Outcome(succeeded=True)
    if code is None or journal.detail:
        return failed(Reason.RUNTIME_ERROR, journal.detail or "ended without an exit code")
    return failed(Reason.EXIT_CODE, exit_sentence(code))


def exit_sentence(code: int) -> str:
    """What an exit code says to a person (bash(1), Exit status)."""
    if code == 126:
        return "exit code 126: the command cannot be executed"
    if code == 127:
        return "exit code 127: command not found"
    if code > 128:
        return f"exit code {code}: killed by signal {code - 128}"
    return f"exit code {code}"
