"""What a person changes for one run, read from the words of a command line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from tests.unit import cli_projects as make
from winslow import lifecycle
from winslow.config import Config, Settings
from winslow.errors import Conflict, NotFound, UsageError
from winslow.events import Dequeued, Enqueued
from winslow.project import encode
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow_tui.facade.changes import Changes, assignments, required, requirements, signed, words, workspace
from winslow_tui.facade.client import Client
from winslow_tui.facade.link import Link
from winslow_tui.facade.runs import queued


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["cpus=4"], {"cpus": 4.0}),
        (["memory=16GiB", "shm=1 GiB"], {"memory": "16GiB", "shm": "1 GiB"}),
        (["gpus=2"], {"gpus": {"count": 2}}),
        (
            ["gpus=2", "gpus.memory=24GiB", "gpus.name=A5000"],
            {"gpus": {"count": 2, "memory": "24GiB", "name": "A5000"}},
        ),
        (["gpus=0"], {"gpus": None}),
        (["gpus=none"], {"gpus": None}),
        (["tags=fast,lab"], {"tags": ["fast", "lab"]}),
        (["tags="], {"tags": []}),
        ([], {}),
    ],
)
def test_requirements(texts: list[str], found: dict[str, JsonValue]) -> None:
    assert requirements(texts) == found
    assert requirements(words(required(found))) == found  # as a form shows it and takes it back


def test_words_in_one_line_keep_blanks_in_quotation_marks() -> None:
    assert words("A=1  B='two words' C=") == ["A=1", "B=two words", "C="]
    assert words("") == []
    with pytest.raises(UsageError, match="is not closed") as said:
        words("A='two words")
    assert "blanks" in said.value.hint


def test_where_a_requirement_was_written_is_said() -> None:
    with pytest.raises(UsageError, match=r"^requirements cpus=lots: "):
        requirements(["cpus=lots"], where="requirements")
    with pytest.raises(UsageError, match=r"^--cpus -3: "):
        requirements([], cpus="-3")


def test_the_three_that_have_an_option_of_their_own() -> None:
    assert requirements(["disk=1TiB"], cpus="0.5", memory="2GiB", gpus="1") == {
        "disk": "1TiB",
        "cpus": 0.5,
        "memory": "2GiB",
        "gpus": {"count": 1},
    }


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["cpu=4"], "did you mean cpus?"),
        (["gpu.count=4"], "did you mean gpus.count?"),
        (["colour=red"], "there is no requirement 'colour'"),
        (["cpus"], "write KEY=VALUE"),
        (["=4"], "write KEY=VALUE"),
        (["cpus=many"], "--requires cpus=many: a number is expected here"),
        (["memory=16"], "write a number with KiB, MiB"),
        (["cpus=0"], "--requires cpus=0"),
        (["cpus=nan"], "--requires cpus=nan"),
        (["gpus=-1"], "--requires gpus=-1"),
        (["gpus.vendor=nvida"], "did you mean 'nvidia'?"),
        (["cpus=1", "cpus=2"], "'cpus' is given twice"),
        (["gpus=0", "gpus.memory=1GiB"], "no GPUs are asked for"),
        (["gpus.memory=1GiB", "gpus=0"], "no GPUs are asked for"),
    ],
)
def test_a_wrong_requirement_is_named_with_the_nearest_right_one(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        requirements(texts)
    assert said in str(caught.value)


def test_the_source_of_a_workspace() -> None:
    assert [workspace(text) for text in (None, "auto", "none", "0", "3", "#3")] == [
        "auto",
        "auto",
        "none",
        0,
        3,
        3,
    ]
    for text in ("-1", "last", "", "²", "9" * 20):
        with pytest.raises(UsageError, match="--workspace-from"):
            workspace(text)


def test_no_change_is_none() -> None:
    assert Changes().none
    assert not Changes(single=True).none
    assert not Changes(env={"A": ""}).none


def test_names_with_a_minus_at_their_end_go() -> None:
    found = signed(["a", "b-", "c d", "a"])
    assert (found.add, found.remove) == (("a", "c d"), ("b",))
    for texts in (["a", "a-"], ["-"]):
        with pytest.raises(UsageError):
            signed(texts)


def test_assignments_set_and_take_away() -> None:
    assert assignments(["A=1", "B-", "C=x-", "D="]) == ({"A": "1", "C": "x-", "D": ""}, ("B",))
    for texts in (["A"], ["=1"], ["-"], ["A=1", "A-"]):
        with pytest.raises(UsageError):
            assignments(texts)


def test_a_waiting_run_is_meant_by_its_place_or_its_id() -> None:
    project = make.after(
        make.queued(),
        *(Enqueued(id=id_, stage="track") for id_ in ("aaaa1111", "aaab2222", "3333cccc")),
    )
    assert [queued(project, item).id for item in ("1", "3", "aaab", "3333", "aaaa1111")] == [
        "aaaa1111",
        "3333cccc",
        "aaab2222",
        "3333cccc",
        "aaaa1111",
    ]
    for item in ("0", "4", "aaa", "aa", "zzzz", "", "-1"):
        with pytest.raises(NotFound, match="waits in the queue"):
            queued(project, item)


class Meanwhile(MemoryStore):
    """Somebody else takes the run `gone` out of the queue, right before the write that would be the second one."""

    def __init__(self, gone: str) -> None:
        super().__init__()
        self._gone = gone
        self._writes = 0

    def put(self, key: str, data: bytes, **how: Any) -> str:
        self._writes += key == layout.project_document("ulm-abcd") and "if_match" in how
        if self._writes == 2:
            self._writes += 1
            Documents(self).update(
                "ulm-abcd", Dequeued(id="other", request=self._gone), apply=lifecycle.apply
            )
        return super().put(key, data, **how)


def test_a_queue_that_somebody_changes_meanwhile_loses_no_other_run_and_says_what_is_out() -> None:
    project = make.after(
        make.queued(), *(Enqueued(id=id_, stage="track") for id_ in ("aaaa", "bbbb", "cccc"))
    )
    store = Meanwhile("bbbb")
    store.put(layout.project_document("ulm-abcd"), encode(project))
    config = Config(settings=Settings(), origins={})
    client = Client(config, link=Link(config, store=store))
    with pytest.raises(Conflict, match=r"waits there no more \(1 of 2 were taken out before that\)"):
        client.runs.dequeue("ulm-abcd", ["1", "2"])
    assert [each.id for each in client.project("ulm-abcd").queue] == ["cccc"]
