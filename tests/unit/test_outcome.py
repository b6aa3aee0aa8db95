"""One reason and one sentence for each way an attempt can end."""

from __future__ import annotations

import pytest

from node_agent.journal import AttemptJournal
from node_agent.outcome import (
    Outcome,
    exit_sentence,
    judge,
    pattern_sentence,
    stall_sentence,
    stop_sentence,
    timeout_sentence,
)
from winslow.pipeline import Requirements, StageDefinition
from winslow.project import Peak, Reason

STAGE = StageDefinition(name="train", image="x:1", requires=Requirements(memory=8 << 30))


def _ended(stage: StageDefinition | None = STAGE, *, aborted: bool = False, **journal: object) -> Outcome:
    held = AttemptJournal.model_validate(
        {"project": "p", "run": 1, "attempt": 1, "claim": "c", "node_uuid": "u", "boot_id": "b", **journal}
    )
    return judge(held, stage, aborted=aborted)


def test_success() -> None:
    assert _ended(exit_code=0) == Outcome(succeeded=True)
    assert _ended(None, exit_code=0) == Outcome(succeeded=True)


@pytest.mark.parametrize(
    ("codes", "code", "sentence"),
    [
        ((0,), 3, "exit code 3"),
        ((0, 3), 3, ""),
        ((3,), 0, "exit code 0, which is not among the stage's ok_exit_codes"),
        ((0,), 126, "exit code 126: the command cannot be executed"),
        ((0,), 127, "exit code 127: command not found"),
        ((0,), 137, "exit code 137: killed by signal 9"),
        ((0, 143), 143, ""),
    ],
)
def test_exit_codes(codes: tuple[int, ...], code: int, sentence: str) -> None:
    outcome = _ended(STAGE.model_copy(update={"ok_exit_codes": codes}), exit_code=code)
    assert outcome == Outcome(not sentence, Reason.EXIT_CODE if sentence else None, sentence)


def test_a_command_that_could_not_be_run_is_no_success_whatever_codes_are() -> None:
    stage = STAGE.model_copy(update={"ok_exit_codes": (0, 127)})
    outcome = _ended(stage, exit_code=127, detail="the command was not found")
    assert outcome == Outcome(False, Reason.RUNTIME_ERROR, "the command was not found")
    assert _ended(exit_code=None).detail == exit_sentence(None) == "ended without an exit code"


def test_memory() -> None:
    outcome = _ended(exit_code=137, oom=True, peak=Peak(memory=8 << 30))
    assert outcome == Outcome(False, Reason.OOM, "killed: used 8.0 of 8 GiB")
    assert _ended(exit_code=137, oom=True, peak=Peak(memory=7 << 30)).detail == "killed: used 7.0 of 8 GiB"
    assert _ended(exit_code=137, oom=True).detail == "killed: used more memory than its limit"
    assert _ended(None, exit_code=137, oom=True).reason is Reason.OOM
    assert _ended(exit_code=0, oom=True).succeeded, "it outlived the loss of a child"


def test_a_line_that_is_a_failure_counts_more_than_the_code() -> None:
    sentence = pattern_sentence(b"ERROR: no frames", "^ERROR")
    assert sentence == "wrote 'ERROR: no frames' (fail_on '^ERROR')"
    assert _ended(exit_code=0, matched=sentence) == Outcome(False, Reason.LOG_PATTERN, sentence)
    assert _ended(exit_code=3, matched=sentence).detail == f"{sentence}; exit code 3"
    assert _ended(exit_code=137, oom=True, peak=Peak(memory=8 << 30), matched=sentence).reason is Reason.OOM


def test_a_line_is_shown_harmless_and_short() -> None:
    sentence = pattern_sentence(b"\x1b]0;title\x07ERR\xff\t" + b"x" * 1000, "ERR")
    assert sentence.startswith("wrote 'ERR\ufffd xxx")
    assert len(sentence) < 260


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.STALLED])
def test_what_the_agent_decided_counts_more_than_how_it_then_ended(reason: Reason) -> None:
    for code in (0, 143, 137):
        outcome = _ended(exit_code=code, reason=reason, detail="why", matched="wrote 'x'")
        assert outcome == Outcome(False, reason, "why")


def test_an_abort_counts_more_than_how_it_then_ended() -> None:
    for code in (0, 143, 3):
        outcome = _ended(exit_code=code, aborted=True, matched="wrote 'x'")
        assert outcome == Outcome(False, Reason.ABORTED, "aborted")
    stopped = _ended(exit_code=143, aborted=True, reason=Reason.TIMEOUT, detail="stopped after 2 h")
    assert stopped == Outcome(False, Reason.ABORTED, "aborted"), "as the document will say"


def test_durations_are_words() -> None:
    assert timeout_sentence(7200) == "stopped after 2 h: the stage's timeout"
    assert timeout_sentence(0.4) == "stopped after 0.4 s: the stage's timeout"
    assert stall_sentence(600) == "no output for 10 min: the stage's stall_timeout"
    assert stop_sentence(10) == "stopping: SIGTERM, after 10 s SIGKILL"
    assert stop_sentence(0) == "stopping: SIGKILL"
