"""A project's next attempt begins while the last one's directory goes away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node_agent.journal import AttemptJournal, Journals


def _journal(run: int) -> AttemptJournal:
    return AttemptJournal(
        project="clip-abcd", run=run, attempt=1, claim=f"{run:016x}", node_uuid="u" * 32, boot_id="b"
    )


def test_removing_one_attempt_never_takes_the_parent_from_the_next(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "attempts")
    journals.write(_journal(1))
    with ThreadPoolExecutor(2) as pool:
        for run in range(1, 400):
            removing = pool.submit(journals.remove, _journal(run))
            writing = pool.submit(journals.write, _journal(run + 1))
            removing.result()
            writing.result()
            assert [each.run for each in journals.load().journals] == [run + 1]
