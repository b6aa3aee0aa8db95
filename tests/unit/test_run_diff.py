"""What two runs differ in, and every fact of one, as data and as rows."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from tests.unit import cli_projects as make
from winslow.definition_diff import Kind
from winslow.events import PinsChanged, RunQueued
from winslow.project import EnvValue, Origin, Peak, Project, Reason, Run
from winslow.run_diff import FileChange, Pair, RunDiff, run_diff, seconds
from winslow.workspace import Entry, EntryType, quote_path
from winslow_tui.shown.runfacts import diff_rows, facts, fields, file_rows, sentence


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    return Entry(
        path=quote_path(path.encode("utf-8", "surrogateescape")),
        type=EntryType.FILE,
        mode=mode,
        object=f"projects/ulm-abcd/runs/1.1/workspace/{hashlib.sha256(content).hexdigest()[:8]}",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def two() -> tuple[Project, Run, Run]:
    """A stage, and the same one with another environment, image, memory and end."""
    project = make.ended(single=True)
    project = make.after(
        project,
        RunQueued(
            id=make.event_id(),
            stage="detect",
            env={"CONF": "0.5"},
            image="img:2",
            requires={"memory": "2GiB"},
        ),
    )
    project = make.ended_like(project, ok=False)
    return project, project.runs[0], project.runs[1]


def test_environment_stage_requirements_results_and_end_are_compared() -> None:
    _, before, after = two()
    before = before.model_copy(update={"env": {"CONF": EnvValue(value="0.3", origin=Origin.STAGE)}})
    found = run_diff(
        before, after, left={1: {"workspace": (), "output": ()}, 2: {"workspace": (), "output": ()}}
    )
    assert found.env == (
        Pair("CONF", {"value": "0.3", "origin": "stage"}, {"value": "0.5", "origin": "run"}),
    )
    assert found.stage == (Pair("image", "img", "img:2"),)
    assert found.requires == (Pair("requires.memory", "1GiB", "2GiB"),)
    assert found.results == (Pair("cars", "3", None),)
    outcome = {pair.name: (pair.before, pair.after) for pair in found.outcome}
    assert outcome["state"] == ("SUCCEEDED", "FAILED")
    assert (outcome["reason"], outcome["exit_code"]) == ((None, "exit_code"), (0, 7))
    assert (found.files, found.unknown) == ((), ())
    rows = diff_rows(found)
    assert ("env CONF", "0.3 (stage)", "0.5 (run)") in rows
    assert ("result cars", "3", "") in rows


def test_a_value_with_another_origin_is_a_difference() -> None:
    _, before, after = two()
    before = before.model_copy(update={"env": {"CONF": EnvValue(value="0.5", origin=Origin.SITE)}})
    (pair,) = run_diff(before, after, left={}).env
    assert (pair.before, pair.after) == (
        {"value": "0.5", "origin": "site"},
        {"value": "0.5", "origin": "run"},
    )


def test_files_are_compared_by_their_manifests() -> None:
    _, before, after = two()
    old = (file("same", b"s"), file("gone", b"gone"), file("more", b"1"), file("x.sh", b"#"))
    new = (
        file("same", b"s"), file("more", b"123"), file("x.sh", b"#", 0o755), file("n\x1b\udcffw", b"new"),
        Entry(path="d", type=EntryType.DIR, mode=0o755),
    )  # fmt: skip
    left = {1: {"workspace": old, "output": ()}, 2: {"workspace": new, "output": ()}}
    found = run_diff(before, after, left=left)  # type: ignore[arg-type]
    assert found.files == (
        FileChange("workspace", "d", Kind.ADDED),
        FileChange("workspace", "gone", Kind.REMOVED, before=4),
        FileChange("workspace", "more", Kind.CHANGED, before=1, after=3),
        FileChange("workspace", "n\x1b\udcffw", Kind.ADDED, after=3),
        FileChange("workspace", "x.sh", Kind.CHANGED, before=1, after=1, note="mode 644 -> 755"),
    )
    assert ("workspace/x.sh", "changed (mode 644 -> 755)", "1 B", "1 B") in file_rows(found)


def test_what_cannot_be_compared_is_said() -> None:
    project, before, _ = two()
    running = make.running(project)
    found = run_diff(before, running.runs[-1], left={1: {"workspace": (), "output": None}, 3: {}})
    assert found.unknown == (
        "run #1 left no output",
        "run #3 is RUNNING: its files are compared when it has ended",
    )
    assert asdict(found)["unknown"] == found.unknown


def test_a_run_does_not_differ_from_itself() -> None:
    _, before, _ = two()
    left = {1: {"workspace": (file("a", b"a"),), "output": ()}}
    assert run_diff(before, before, left=left) == RunDiff(before=1, after=1)  # type: ignore[arg-type]


def test_times_that_are_none_give_no_duration() -> None:
    attempt = make.ended().runs[0].attempt
    assert attempt is not None
    times = {"started_at": "2026-01-01T10:00:00.500Z", "exited_at": "2026-01-01T10:01:00.750Z"}
    assert seconds(attempt.model_copy(update=times)) == 60.25
    assert seconds(attempt.model_copy(update=times | {"exited_at": "soon"})) is None
    assert seconds(attempt.model_copy(update=times | {"started_at": "2026-01-01T10:00:00"})) is None
    assert seconds(attempt) is None


def test_every_fact_of_a_run() -> None:
    project, _, after = two()
    attempt = after.attempt
    assert attempt is not None
    attempt = attempt.model_copy(
        update={
            "peak": Peak(memory=3 << 30, cpus=1.5),
            "image_digest": "sha256:abc",
            "gpus": ("GPU-1",),
            "started_at": "2026-01-01T10:00:00Z",
            "exited_at": "2026-01-01T10:01:00Z",
        }
    )
    after = after.model_copy(
        update={
            "attempts": (attempt,),
            "env": {**after.env, "KEY": EnvValue(value="secret:key", origin=Origin.RUN)},
        }
    )
    project = make.after(project.with_run(after), PinsChanged(id="p", add=(2,)))
    told = facts(project, after, left={"workspace": (file("a", b"abc"),), "output": None})
    assert (told["state"], told["reason"], told["sentence"]) == ("FAILED", "exit_code", "exit code 7")
    assert (told["pinned"], told["pruned"], told["marks"]) == (True, None, ["pinned"])
    assert told["env"]["KEY"] == {"value": "secret:key", "origin": "run"}
    assert told["asked"]["image"] == "img:2"
    assert told["attempts"][0]["peak"]["memory"] == 3 << 30
    assert told["attempts"][0]["seconds"] == 60.0
    assert told["manifests"] == {
        "workspace": {"key": "", "files": 1, "folders": 0, "links": 0, "bytes": 3},
        "output": None,
    }
    shown = fields(told)
    assert shown["digest"] == "sha256:abc"
    assert shown["peak"] == "3 GiB of memory, 1.5 cores"
    assert shown["lasted"] == "1 min"
    assert shown["requires"] == "1 core, 2 GiB of memory, 2 GPUs with 24 GiB"
    assert shown["changed"] == "CONF=0.5, image img:2, memory=2GiB"
    assert shown["left workspace"] == "1 file, 3 B"


def test_every_reason_has_a_sentence_for_people() -> None:
    run = make.ended(ok=False).runs[0]
    for reason in Reason:
        assert sentence(run.model_copy(update={"reason": reason, "detail": ""}))
    assert sentence(run) == "exit code 7"
