"""How an attempt ended: one reason, and a sentence a person understands (R1440, R1460). Pure.

Of several reasons the first of these counts: a person aborted it, as in the document (`lifecycle`); the agent
stopped it (`journal.reason`); memory; a line that its stage calls a failure; a command that could not be run;
the exit code.
"""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.journal import AttemptJournal
from winslow import terminal_text
from winslow.pipeline import StageDefinition
from winslow.placement import size_text
from winslow.project import Reason
from winslow.quantities import duration_text

MOST_SHOWN = 200  # characters of a stage's own line in a sentence
_UNITS = {"s": "s", "m": "min", "h": "h", "d": "d"}


@dataclass(frozen=True)
class Outcome:
    """What the document gets to know; `detail` is the sentence, empty for a success."""

    succeeded: bool
    reason: Reason | None = None
    detail: str = ""


def failed(reason: Reason, detail: str) -> Outcome:
    """An outcome that the stage's exit code says nothing about."""
    return Outcome(succeeded=False, reason=reason, detail=detail)


def judge(journal: AttemptJournal, stage: StageDefinition | None, *, aborted: bool) -> Outcome:
    """The outcome of an attempt whose exit stands in its journal; `stage` None where the document is not known."""
    code = journal.exit_code
    good = code in (stage.ok_exit_codes if stage else (0,))
    if aborted:
        return failed(Reason.ABORTED, "aborted")
    if journal.reason is not None:
        return failed(journal.reason, journal.detail)
    if journal.oom and not good:
        return failed(Reason.OOM, memory_sentence(journal.peak.memory, stage))
    if journal.matched:
        return failed(Reason.LOG_PATTERN, journal.matched + ("" if good else f"; {exit_sentence(code)}"))
    if code is None or (journal.detail and code != 0):
        return failed(Reason.RUNTIME_ERROR, journal.detail or exit_sentence(code))
    if good:
        return Outcome(succeeded=True)
    return failed(Reason.EXIT_CODE, exit_sentence(code))


def timeout_sentence(timeout: float) -> str:
    """Why a stage that ran for too long was stopped."""
    return f"stopped after {_spoken(timeout)}: the stage's timeout"


def stall_sentence(stall_timeout: float) -> str:
    """Why a stage that fell silent was stopped."""
    return f"no output for {_spoken(stall_timeout)}: the stage's stall_timeout"


def pattern_sentence(line: bytes, pattern: str) -> str:
    """Which line of a stage is a failure, and by which of its patterns."""
    shown = terminal_text.line(line.decode("utf-8", "replace")).strip()
    if len(shown) > MOST_SHOWN:
        shown = f"{shown[:MOST_SHOWN]}…"
    return f"wrote '{shown}' (fail_on '{pattern}')"


def memory_sentence(used: int, stage: StageDefinition | None) -> str:
    """That a stage was killed for its memory, in the unit of its limit: `killed: used 8.0 of 8 GiB`."""
    if stage is None or not used:
        return "killed: used more memory than its limit"
    limit = size_text(stage.requires.memory)
    number = float(limit.split(" ")[0])
    return f"killed: used {used * number / stage.requires.memory:.1f} of {limit}"


def stop_sentence(grace: float) -> str:
    """How a stage is being stopped."""
    return f"stopping: SIGTERM, after {_spoken(grace)} SIGKILL" if grace else "stopping: SIGKILL"


def exit_sentence(code: int | None) -> str:
    """What an exit code says to a person (bash(1), Exit status)."""
    if code is None:
        return "ended without an exit code"
    if code == 0:
        return "exit code 0, which is not among the stage's ok_exit_codes"
    if code == 126:
        return "exit code 126: the command cannot be executed"
    if code == 127:
        return "exit code 127: command not found"
    if code > 128:
        return f"exit code {code}: killed by signal {code - 128}"
    return f"exit code {code}"


def _spoken(seconds: float) -> str:
    text = duration_text(seconds)
    return f"{text[:-1]} {_UNITS[text[-1]]}"
