"""People at the same project in the same moment: no update is lost, and who comes too late is told what was changed
and by whom (I10). And a definition that is edited and deleted while a project of it runs (R1130)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import Fleet, waiting_lines
from tests.acceptance.people import Answer, Person
from tests.integration.test_cli_commands import Shell
from winslow.errors import WinslowError
from winslow.project import Project, RunState
from winslow_tui.facade.client import Client
from winslow_tui.facade.link import Link

ROUNDS = 32
PEOPLE = ("anna", "ben", "cleo", "dan", "eva", "fay")


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """A site whose one node takes nothing but what asks for it."""
    made = fleet_factory()
    made.agent("ws1", labels=["here"]).start().online()
    return made


def definition(fleet: Fleet, image: str, *stages: tuple[str, str], name: str = "shared", tag: str) -> str:
    """A definition of stages by name and script; one `one` where none is said."""
    told = [
        {
            "name": stage,
            "image": image,
            "command": ["sh", "-c", script],
            "requires": {"cpus": 0.1, "memory": "32MiB", "tags": [tag]},
        }
        for stage, script in stages or [("one", "true")]
    ]
    return json.dumps({"name": name, "stages": told})  # JSON is YAML


class Somebody(Link):
    """A person before one project, as they saw it; `ids` are of the events they made, `deed` is what they did."""

    def __init__(self, fleet: Fleet, seen: Project, name: str) -> None:
        super().__init__(fleet.config, new_id=self._next)
        self.name, self._seen, self._client = name, seen, Client(fleet.config, link=self)
        self.ids: list[str] = []
        self.deed = ""

    @property
    def author(self) -> str:
        return self.name

    def _next(self) -> str:
        self.ids.append(f"{self.name}-{len(self.ids)}")
        return self.ids[-1]

    def edits(self) -> None:
        """Another image in the own copy of the pipeline."""
        self.deed = "edits"
        held = self._seen.pipeline.definition
        stages = tuple(stage.model_copy(update={"image": self.name}) for stage in held.stages)
        self._client.projects.change_pipeline(self._seen, held.model_copy(update={"stages": stages}))

    def starts(self) -> None:
        self.deed = "starts"
        self._client.runs.start(self._seen.id)

    def renames(self) -> None:
        self.deed = "renames"
        self._client.projects.rename(self._seen.id, f"by {self.name}")

    def deletes(self) -> None:
        self.deed = "deletes"
        self._client.projects.delete(self._seen.id)


def at_once(deeds: Sequence[Callable[[], object]]) -> list[object]:
    """What each of them led to, a WinslowError included; all begin in the same moment."""
    barrier = threading.Barrier(len(deeds))

    def done(deed: Callable[[], object]) -> object:
        barrier.wait(60)
        try:
            return deed()
        except WinslowError as error:
            return error

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(done, deeds))


def test_nobodys_update_is_lost_and_the_losers_learn_of_the_winner(fleet: Fleet) -> None:
    """Two edit, two start, one renames, and in every other round one deletes."""
    fleet.client.pipelines.apply(definition(fleet, "as it was", tag="nobody"), source="the test")
    met: set[tuple[str, int]] = set()
    for number in range(ROUNDS):
        seen = fleet.client.projects.create(f"round {number}", pipeline="shared")
        everybody = [Somebody(fleet, seen, name) for name in PEOPLE]
        anna, ben, cleo, dan, eva, fay = everybody
        deeds = [anna.edits, ben.starts, cleo.edits, dan.starts, eva.renames, fay.deletes]
        if number % 2 == 0:
            deeds.pop()
        outcomes = at_once(deeds)
        met |= _judge(fleet, seen.id, list(zip(everybody, outcomes, strict=False)))
    assert met >= {("edits", 0), ("edits", 4), ("starts", 0), ("starts", 4), ("renames", 0), ("deletes", 0)}
    assert {code for _, code in met} == {0, 3, 4}, "some came before a deletion, some after it"


def _judge(fleet: Fleet, project: str, outcomes: Sequence[tuple[Somebody, object]]) -> set[tuple[str, int]]:
    """Check one round; what was done in it, with the exit codes."""
    document = fleet.client.documents.read(project).document
    won: dict[str, list[str]] = {}
    for person, outcome in outcomes:
        done = not isinstance(outcome, WinslowError)
        assert any(map(document.holds, person.ids)) is done, (person.name, outcome)
        if done:
            won.setdefault(person.deed, []).append(person.name)
    assert document.revision == 1 + sum(map(len, won.values())), "each took effect once"
    assert all(len(winners) == 1 for winners in won.values()), "of two that exclude each other one wins"
    if isinstance(document, Project):
        assert won.keys() == {"edits", "starts", "renames"}
        assert document.pipeline.definition.stages[0].image == won["edits"][0]
        assert [run.by for run in document.runs] == won["starts"]
        assert document.name == "by eva"
    met = {(deed, 0) for deed in won}
    for person, outcome in outcomes:
        if isinstance(outcome, WinslowError):
            met.add((person.deed, outcome.exit_code))
            if outcome.exit_code == 3:
                assert "was deleted by fay, 20" in str(outcome)
                continue
            assert outcome.exit_code == 4, outcome
            (winner,) = won[person.deed]
            assert f"by {winner}, 20" in str(outcome)
            what = (
                f"stages.one.image: as it was -> {winner}"
                if person.deed == "edits"
                else "run #1 (one) is QUEUED"
            )
            assert what in str(outcome)
            assert outcome.hint
    return met


def test_people_at_their_terminals_get_exit_codes_and_sentences(fleet: Fleet, tmp_path: Path) -> None:
    text = definition(fleet, "another", tag="nobody")
    (tmp_path / "shared.yaml").write_text(text)
    anna, ben, cleo = (
        Person(name, fleet.folder / "client.toml", tmp_path) for name in ("anna", "ben", "cleo")
    )
    fleet.client.pipelines.apply(text, source="the test")
    project = fleet.client.projects.create("both", pipeline="shared").id
    first, second = at_once([lambda: anna.try_("start", project), lambda: ben.try_("start", project)])
    assert isinstance(first, Answer) and isinstance(second, Answer)
    (winner, lost) = ("anna", second) if first.code == 0 else ("ben", first)
    assert {first.code, second.code} == {0, 4}
    assert f"run #1 (one) is QUEUED (by {winner}, 20" in lost.err
    assert f"winslow queue add {project} --stage one" in lost.err

    edited, gone = at_once(
        [
            lambda: ben.try_("project", "set-pipeline", project, "--file", "shared.yaml", "--yes"),
            lambda: cleo.try_("project", "delete", project, "--yes"),
        ]
    )
    assert isinstance(edited, Answer) and isinstance(gone, Answer)
    assert gone.code == 0
    late = edited if edited.code else ben.try_("abort", project)
    assert late.code == 3
    assert f"winslow: project '{project}' was deleted by cleo, 20" in late.err


def test_a_definition_that_is_edited_and_deleted_while_its_project_runs(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.folder / "client.toml"))
    monkeypatch.chdir(tmp_path)
    shell = Shell(capsys, fleet.site, tmp_path)
    wait = waiting_lines(1, 0)[0]
    versions = [
        definition(fleet, fleet.image, ("one", wait), ("two", f"echo {said}"), name="crossing", tag="here")
        for said in ("old", "new", "newest")
    ]
    for number, text in enumerate(versions):
        (tmp_path / f"{number}.yaml").write_text(text)
    shell("pipeline", "apply", "0.yaml")
    project = shell("project", "create", "Ulm", "--pipeline", "crossing").strip()
    shell("start", project)
    fleet.wait_live(project, b"line 0\n")
    before = fleet.document(project).pipeline

    shell("pipeline", "apply", "1.yaml")
    assert "crossing revision 2 is newer" in shell("project", "show", project)
    assert "revision 2 is newer" in shell("project", "list")
    shell("pipeline", "delete", "crossing")
    assert "crossing was deleted" in shell("project", "show", project)
    shell("project", "update-pipeline", project, "--yes", code=3)
    fleet.go(project)
    document = fleet.wait_idle(project)
    assert [run.state for run in document.runs] == [RunState.SUCCEEDED] * 2
    assert document.pipeline == before
    assert fleet.written(project, run=2) == b"old\n"

    shell("pipeline", "apply", "2.yaml")
    change = "stages.two.command: [sh, -c, echo old] -> [sh, -c, echo newest]"
    assert change in shell("pipeline", "diff", "crossing", "--project", project)
    assert change in shell("project", "update-pipeline", project, code=2)
    assert "nobody can be asked" in shell.err
    shell("start", project, "--stage", "two")
    fleet.wait_idle(project)
    assert fleet.written(project, run=3) == b"old\n", "nothing is taken over untold"
    assert change in shell("project", "update-pipeline", project, "--yes")
    assert "newer" not in shell("project", "show", project)
    shell("start", project, "--stage", "two")
    fleet.wait_idle(project)
    assert fleet.written(project, run=4) == b"newest\n"
    assert fleet.document(project).runs[:2] == document.runs
