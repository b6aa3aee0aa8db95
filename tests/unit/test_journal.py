"""Attempt journals and the data directory: durable, readable after any cut, and safe from hostile names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node_agent.journal import AttemptJournal, ClaimedNumber, DataDirectory, Journals, Step, sync_filesystem
from winslow.errors import InvalidInput, Refused
from winslow.project import Manifests, Peak, Reason

UUID = "3f0e1c52-0000-4000-8000-000000000001"


def journal(project: str = "ulm-abcd", run: int = 3, attempt: int = 1) -> AttemptJournal:
    return AttemptJournal(
        project=project, run=run, attempt=attempt, claim="claim-1", node_uuid=UUID, boot_id="boot-1"
    )


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    return Journals(tmp_path / "attempts")


def test_what_was_written_is_read_back(journals: Journals) -> None:
    written = journal().advance(
        Step.EXITED,
        container="c1",
        exit_code=137,
        oom=True,
        reason=Reason.OOM,
        peak=Peak(memory=5, cpus=1.5),
        times={"EXITED": "2026-01-01T00:00:00Z"},
    )
    journals.write(journal())
    journals.write(written)
    assert journals.read("ulm-abcd", 3, 1) == written
    assert journals.read("ulm-abcd", 3, 2) is None
    loaded = journals.load()
    assert (loaded.journals, loaded.bad, loaded.leftovers) == ((written,), (), ())


def test_steps_only_go_forward_and_changes_are_validated() -> None:
    started = journal().advance(Step.STARTED)
    assert [step.order for step in Step] == list(range(10))
    assert started.advance(Step.STARTED, container="c2").container == "c2"
    with pytest.raises(ValueError, match="STARTED cannot go back to CLAIMED"):
        started.advance(Step.CLAIMED)
    with pytest.raises(ValueError, match="exit_code"):
        started.advance(Step.EXITED, exit_code="none")


def test_a_container_that_goes_on_under_another_number_keeps_its_directory(journals: Journals) -> None:
    """Each write is one rename: whenever the agent dies, one journal says what is known."""
    started = journal().advance(Step.STARTED, container="c1", gpus=("GPU-a",), peak=Peak(memory=5))
    journals.write(started)
    journals.write(started.wanting(3, "claim-3"))
    assert [(each.attempt, each.wanted) for each in journals.load().journals] == [
        (1, ClaimedNumber(attempt=3, claim="claim-3"))
    ]
    third = started.wanting(3, "claim-3").renumbered()
    journals.write(third)
    fourth = third.wanting(4, "claim-4").renumbered()
    journals.write(fourth)
    assert journals.load().journals == (fourth,)
    assert journals.home(fourth) == journals.directory("ulm-abcd", 3, 1)
    assert (fourth.attempt, fourth.claim, fourth.wanted) == (4, "claim-4", None)
    assert fourth.made_as == third.made_as == ClaimedNumber(attempt=1, claim="claim-1")
    assert (fourth.container, fourth.gpus, fourth.peak) == ("c1", ("GPU-a",), Peak(memory=5))
    journals.remove(fourth)
    assert journals.load().journals == ()
    with pytest.raises(ValueError, match="no other number was asked for"):
        fourth.renumbered()


def test_what_was_collected_under_a_lost_number_is_collected_again() -> None:
    collected = journal().advance(
        Step.COLLECTED,
        exit_code=0,
        manifests=Manifests(workspace="projects/x/runs/3.1/…"),
        results={"a": "1"},
    )
    second = collected.wanting(2, "claim-2").renumbered()
    assert (second.step, second.exit_code) == (Step.EXITED, 0)
    assert (second.manifests, second.results) == (Manifests(), {})
    assert journal().advance(Step.STARTED).wanting(2, "c").renumbered().step is Step.STARTED


def test_a_newer_agents_fields_survive(journals: Journals, tmp_path: Path) -> None:
    journals.write(journal())
    path = tmp_path / "attempts/ulm-abcd/3.1/attempt.json"
    path.write_text(path.read_text().replace("{", '{"later": [1],', 1))
    read = journals.read("ulm-abcd", 3, 1)
    assert read is not None
    journals.write(read.advance(Step.CLAIMED))
    assert '"later"' in path.read_text()


@pytest.mark.parametrize(
    "content",
    [b"", b'{"project": "ulm-abcd", "ru', b"\xff\x00", b'{"project": "ulm-abcd"}', b"[1]"],
)
def test_a_torn_journal_is_put_aside_and_named_and_the_others_are_read(
    journals: Journals, tmp_path: Path, content: bytes
) -> None:
    journals.write(journal(run=1))
    journals.write(journal(run=2))
    torn = tmp_path / "attempts/ulm-abcd/2.1/attempt.json"
    torn.write_bytes(content)
    loaded = journals.load()
    assert [entry.run for entry in loaded.journals] == [1]
    assert [bad.path.name for bad in loaded.bad] == ["attempt.1.bad"]
    assert loaded.bad[0].path.read_bytes() == content
    assert "2.1/attempt.json" in loaded.bad[0].why
    assert (
        journals.load().bad == ()
    )  # said once; and the directory is no leftover: somebody should look at it
    assert journals.load().leftovers == ()
    torn.write_bytes(content)
    assert [bad.path.name for bad in journals.load().bad] == ["attempt.2.bad"]


def test_a_journal_in_another_attempts_place_is_put_aside(journals: Journals, tmp_path: Path) -> None:
    journals.write(journal(run=1))
    source = tmp_path / "attempts/ulm-abcd/1.1/attempt.json"
    (tmp_path / "attempts/ulm-abcd/2.1").mkdir()
    (tmp_path / "attempts/ulm-abcd/2.1/attempt.json").write_bytes(source.read_bytes())
    loaded = journals.load()
    assert [entry.run for entry in loaded.journals] == [1]
    assert "is the journal of 'ulm-abcd 1.1'" in loaded.bad[0].why


def test_a_write_cut_before_its_rename_leaves_the_old_journal(journals: Journals, tmp_path: Path) -> None:
    journals.write(journal())
    (tmp_path / "attempts/ulm-abcd/3.1/attempt.json.new").write_bytes(b'{"proj')
    assert journals.load().journals == (journal(),)
    journals.write(journal().advance(Step.CLAIMED))
    assert journals.load().journals[0].step is Step.CLAIMED


def test_a_directory_without_a_journal_is_a_leftover(journals: Journals, tmp_path: Path) -> None:
    left = tmp_path / "attempts/ulm-abcd/9.2"
    left.mkdir(parents=True)
    (tmp_path / "attempts/not a project/1.1").mkdir(parents=True)
    (tmp_path / "attempts/ulm-abcd/notes.txt").write_text("x")
    assert journals.load().leftovers == (left,)


@pytest.mark.parametrize(
    "project",
    ["", "..", ".", "a/b", "/etc", "a/../../b", "a\nb", "a\0b", "A", "ä", "-rf", "a\x1b[31m", "x" * 200],
)
def test_no_project_id_leads_out_of_the_data_directory(
    journals: Journals, tmp_path: Path, project: str
) -> None:
    with pytest.raises(InvalidInput):
        journals.directory(project, 1, 1)
    with pytest.raises(InvalidInput):
        journals.write(journal(project=project))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("run", "attempt"), [(-1, 1), (1, 0), (1, -1), (10**12, 1)])
def test_odd_numbers_are_refused(journals: Journals, run: int, attempt: int) -> None:
    with pytest.raises(InvalidInput):
        journals.directory("ulm-abcd", run, attempt)


def test_removing_leaves_nothing_and_keeps_the_neighbours(journals: Journals, tmp_path: Path) -> None:
    journals.write(journal(attempt=1))
    journals.write(journal(attempt=2))
    journals.remove(journal(attempt=1))
    journals.remove(journal(attempt=1))
    assert [entry.attempt for entry in journals.load().journals] == [2]
    journals.remove(journal(attempt=2))
    assert list((tmp_path / "attempts").iterdir()) == []


def test_journals_are_nobody_elses_to_read(journals: Journals, tmp_path: Path) -> None:
    journals.write(journal())
    modes = [path.stat().st_mode & 0o077 for path in (tmp_path / "attempts").rglob("*")]
    assert modes == [0, 0, 0]


def test_the_uuid_is_drawn_once_and_the_directory_is_one_agents(tmp_path: Path) -> None:
    draws = iter([UUID, "never-drawn-again"])
    first = DataDirectory.open(tmp_path / "data", new_uuid=lambda: next(draws))
    assert first.node_uuid == UUID
    with pytest.raises(Refused, match="another agent is using"):
        DataDirectory.open(tmp_path / "data", new_uuid=lambda: next(draws))
    first.close()
    first.close()
    second = DataDirectory.open(tmp_path / "data", new_uuid=lambda: next(draws))
    assert second.node_uuid == UUID
    second.close()


def test_a_stage_that_outlives_the_agent_does_not_hold_the_lock(tmp_path: Path) -> None:
    first = DataDirectory.open(tmp_path, new_uuid=lambda: UUID)
    stage = subprocess.Popen(
        [sys.executable, "-c", "print('runs', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    )
    assert stage.stdout is not None
    try:
        assert stage.stdout.readline() == "runs\n"  # the kernel drops inherited descriptors while it starts
        first.close()
        DataDirectory.open(tmp_path, new_uuid=lambda: UUID).close()
    finally:
        stage.communicate("\n")


def test_a_killed_agents_lock_is_free_again(tmp_path: Path) -> None:
    program = (
        "import pathlib, os, sys; from node_agent.journal import DataDirectory; "
        f"DataDirectory.open(pathlib.Path({str(tmp_path)!r}), new_uuid=lambda: {UUID!r}); "
        "print('locked', flush=True); input()"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    try:
        assert agent.stdout.readline() == "locked\n"
        with pytest.raises(Refused):
            DataDirectory.open(tmp_path, new_uuid=lambda: "x")
    finally:
        agent.kill()
        agent.communicate()
    again = DataDirectory.open(tmp_path, new_uuid=lambda: "x")
    assert again.node_uuid == UUID
    again.close()


def test_a_damaged_uuid_is_an_error_and_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "node.uuid").write_bytes(b"\x1b[31m\n")
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InvalidInput, match=r"node\.uuid"):
        DataDirectory.open(tmp_path, new_uuid=lambda: UUID)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_file_system_is_synced_by_any_folder_of_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    sync_filesystem(tmp_path)
    with pytest.raises(OSError, match="none"):
        sync_filesystem(tmp_path / "none")
