"""What lists show, before anything is drawn: filters, sorting, rows of projects and nodes, the site as it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.messages import ActiveSummary, Phase, Progress, ProjectSummary
from tests import screens
from winslow.metrics import NodeHistory
from winslow.node import ActiveRun, Presence
from winslow.project import RunState
from winslow_tui.program import filtering, noderows
from winslow_tui.program.attention import sentence, sequence
from winslow_tui.program.noderows import NodeRow
from winslow_tui.program.projectrows import BAR, ProjectRow, bar, duration
from winslow_tui.program.sitemodel import SiteModel
from winslow_tui.program.sitewatch import News, Server
from winslow_tui.program.sorting import Sorting
from winslow_tui.widgets.table import Cell

FIELDS = {"tag": ("ulm", "2026"), "state": ("needs you",), "name": ("Ulm crossing",), "node": ()}


def summary(id_: str = "ulm-abcd", state: str = "new", **more: Any) -> ProjectSummary:
    return ProjectSummary(
        id=id_, revision=more.pop("revision", 1), name=more.pop("name", id_), state=state, **more
    )


def run(state: RunState = RunState.RUNNING, **more: Any) -> ActiveSummary:
    return ActiveSummary(n=1, k=1, stage="track", state=state, **more)


def texts(row: ProjectRow) -> dict[str, str]:
    from winslow_tui.program.projectrows import COLUMNS

    cells = row.cells(now=4000.0, wall=screens.NOON)
    return {column.label: cell.text for column, cell in zip(COLUMNS, cells, strict=True)}


# -- filters


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("ULM", True),
        ("tag:2026", True),
        ("tag:26", False),  # a field begins with its value
        ("crossing 2026", True),
        ("crossing nothing", False),
        ("!crossing", False),
        ("!nothing", True),
        ("state:needs", True),
        ("state:", True),  # still being typed
        ("!state:failed", True),
        ("other:thing", False),  # no field of that name: a word
        ("node:ws1", False),
        ("!node:ws1", True),
        ("!", False),
    ],
)
def test_a_filter(text: str, holds: bool) -> None:
    wanted = filtering.parse(text, fields=("tag", "state", "name", "node"))
    assert wanted.holds(FIELDS) is holds


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("state:archived", True),
        ("ulm state:arch", True),
        ("!state:archived", False),
        ("archived", False),
        ("", False),
    ],
)
def test_a_filter_asks_for_a_state_by_its_field_alone(text: str, asks: bool) -> None:
    assert filtering.parse(text, fields=("state",)).names("state", "archived") is asks


def test_what_is_archived_is_counted_as_nothing_else_and_comes_last() -> None:
    site = SiteModel(clock=lambda: 0.0)
    put_away = summary("old-abcd", "failed", archived=True)
    site.apply(News(projects={"old-abcd": put_away, "ulm-abcd": summary("ulm-abcd", "succeeded")}))
    assert (site.counts["failed"], site.counts["archived"]) == (0, 1)
    assert site.order == ["ulm-abcd", "old-abcd"]
    assert site.projects["old-abcd"].fields()["state"] == ("archived",)
    site.apply(News(projects={"old-abcd": summary("old-abcd", "failed")}))
    assert (site.counts["failed"], site.counts["archived"]) == (1, 0)
    assert site.order == ["old-abcd", "ulm-abcd"]


@given(st.text(max_size=40))
def test_a_filter_and_its_opposite_share_nothing(text: str) -> None:
    words = [word for word in text.split() if not word.startswith("!")][:1]
    for word in words:
        plain, turned = (filtering.parse(each, fields=("tag",)) for each in (word, f"!{word}"))
        if plain.conditions and turned.conditions:
            assert plain.holds(FIELDS) is not turned.holds(FIELDS)


# -- sorting


def test_a_column_is_sorted_up_down_and_not_at_all() -> None:
    values = {"NAME": {"a": 3, "b": 1, "c": None, "d": 2}.get}
    sorting, orders = Sorting(), []
    for _ in range(3):
        sorting = sorting.pressed("NAME")
        orders.append(sorting.order("abcd", values))
    assert orders == [["b", "d", "a", "c"], ["a", "d", "b", "c"], ["a", "b", "c", "d"]]


def test_another_column_begins_upwards() -> None:
    assert Sorting("NAME", backwards=True).pressed("SIZE") == Sorting("SIZE")


# -- projects


def test_what_needs_a_person_comes_first_and_then_what_changed_last() -> None:
    states = ["succeeded", "running", "failed", "needs you", "waiting", "a new word"]
    rows = [ProjectRow(summary(state, state)) for state in states]
    rows.append(ProjectRow(summary("later", "failed", updated="2026-06-12T10:00:00Z")))
    rows.append(ProjectRow(summary("sooner", "failed", updated="2026-06-12T09:00:00Z")))
    order = [row.summary.id for row in sorted(rows, key=lambda row: row.urgency)]
    assert order == [
        "needs you",
        "later",
        "sooner",
        "failed",
        "waiting",
        "running",
        "succeeded",
        "a new word",
    ]


def test_a_running_project_shows_its_progress() -> None:
    row = ProjectRow(
        summary(state="running", active=(run(RunState.QUEUED), run(node="ws2", percent=10.0))),
        Progress(phase=Phase.RUN, percent=81.0),
    )
    shown = texts(row)
    assert (shown["STATE"], shown["STAGE"], shown["NODE"]) == ("● running", "track", "ws2")
    row = replace(row, summary=row.summary.model_copy(update={"stages": ("detect", "track", "clean")}))
    assert texts(row)["STAGE"] == "2/3 track"
    assert shown["PROGRESS"] == f"{'█' * 8}{'░' * 2}  81%"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (summary(state="needs you", needs=("A", "B"), reason="stage 'x' needs A, B"), "set A, B"),
        (
            summary(state="needs you", next_stage="c", reason="stage 'c' waits for a confirmation"),
            "confirm c",
        ),
        (summary(state="failed", reason="run #12 (detect): exit code 7"), "exit code 7"),
        (summary(state="waiting", active=(run(RunState.QUEUED),)), "for a node"),
        (summary(state="waiting", active=(run(RunState.QUEUED),), reason="needs 2 GPUs"), "needs 2 GPUs"),
        (summary(state="paused", reason="single"), "after one stage"),
        (summary(state="paused", reason="user"), "by a person"),
        (summary(state="new"), ""),
    ],
)
def test_a_row_says_why_in_a_few_words(row: ProjectSummary, why: str) -> None:
    assert texts(ProjectRow(row))["PROGRESS"] == why


def test_a_state_seen_to_change_is_as_old_as_that() -> None:
    old = ProjectRow(summary(updated="2026-06-12T02:00:00Z"))
    assert texts(old)["FOR"] == "10h00"
    assert texts(ProjectRow(old.summary, heard=4000.0 - 120))["FOR"] == "0h02"
    assert texts(ProjectRow(summary(updated="yesterday")))["FOR"] == ""


@given(st.floats(min_value=-1e9, max_value=1e12))
def test_durations_stay_narrow(seconds: float) -> None:
    assert len(duration(seconds)) <= 6 or seconds > 86400 * 99_999


@given(st.floats(min_value=-10, max_value=200))
def test_bars_have_one_width(percent: float) -> None:
    assert len(bar(max(0.0, min(percent, 100.0)))) == BAR + 5


# -- nodes


def test_a_node_with_and_without_a_sample() -> None:
    busy = screens.node("ws2", ActiveRun(project="ulm", run=3, attempt=1, stage="track"), gpus=1)
    cells = [cell.text for cell in NodeRow(busy, screens.sample(50, gpus=1), 3.0).cells()]
    assert cells[0] == "ws2" and cells[1] == "● online" and "88%" in cells[4] and "ulm#3" in cells[9]
    bare = NodeRow(screens.node("ws4", presence=Presence.OFFLINE, note="gone")).cells()
    assert [cell.text for cell in bare[1:4]] == ["✗ offline", "-", "-"] and bare[9] == Cell("gone", dim=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (900, "900"),
        (12 << 10, "12K"),
        (3.4 * (1 << 20), "3.4M"),
        (2 << 30, "2.0G"),
        (200 << 30, "200G"),
    ],
)
def test_rates_are_short(value: float, text: str) -> None:
    assert noderows.rate(value) == text


@given(st.lists(st.floats(min_value=0, max_value=1e12), max_size=200), st.integers(1, 100))
def test_a_curve_has_the_width_it_was_given(values: list[float], width: int) -> None:
    assert len(noderows.curve(values, width, top=max(values, default=1.0) or 1.0)) == width


def test_curves_of_a_history_that_is_empty_or_whole() -> None:
    assert noderows.curves(NodeHistory(), 20) == []
    drawn = noderows.curves(screens.history(gpus=2), 40)
    assert [name for name, _, _ in drawn][-2:] == ["gpu 0", "gpu 1"]
    assert {len(curve) for _, curve, _ in drawn} == {40}


def test_a_nodes_row_has_each_gpus_load_memory_and_temperature() -> None:
    silent = screens.sample(71, gpus=2).gpus[1].model_copy(update={"temperature": None, "memory": 512 << 20})
    sample = screens.sample(71, gpus=2)
    sample = sample.model_copy(update={"gpus": (sample.gpus[0], silent)})
    cells = NodeRow(screens.node("ws2", gpus=2), sample).cells()
    shown = {column.label: cell.text for column, cell in zip(noderows.COLUMNS, cells, strict=True)}
    assert (shown["GPU"], shown["GPU MEM"], shown["°C"]) == ("88% 88%", "19G 512M", "71 -")
    bare = NodeRow(screens.node("ws1"), screens.sample(4)).cells()
    shown = {column.label: cell.text for column, cell in zip(noderows.COLUMNS, bare, strict=True)}
    assert (shown["GPU"], shown["GPU MEM"], shown["°C"]) == ("-", "-", "-")


# -- the site as it is known


def model() -> SiteModel:
    return SiteModel(clock=lambda: 500.0)


def news(*summaries: ProjectSummary) -> News:
    return News(projects={each.id: each for each in summaries})


def test_projects_move_when_their_state_does() -> None:
    site = model()
    assert site.apply(news(summary("a", "new"), summary("b", "failed"))).moved
    assert site.order == ["b", "a"]
    changes = site.apply(news(summary("a", "needs you", revision=2)))
    assert site.order == ["a", "b"] and changes.moved and changes.turned == {"a"}
    assert site.counts == {"needs you": 1, "failed": 1, "new": 0}
    assert not site.apply(news(summary("a", "needs you", revision=3))).moved
    site.apply(News(projects={"a": None, "never": None}))
    assert site.order == ["b"] and site.counts["needs you"] == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["new", "failed", "running", ""])), max_size=40
    )
)
def test_the_order_is_always_that_of_urgency(steps: list[tuple[str, str]]) -> None:
    site = model()
    for id_, state in steps:
        site.apply(News(projects={id_: summary(id_, state) if state else None}))
        assert site.order == [
            row.summary.id for row in sorted(site.projects.values(), key=lambda row: row.urgency)
        ]
        assert +site.counts == {
            state: n for state in {"new", "failed", "running"}
            if (n := sum(row.summary.state == state for row in site.projects.values()))
        }  # fmt: skip


def test_many_at_once_are_sorted_too() -> None:
    site = model()
    site.apply(news(*(summary(f"p{n}", "failed" if n % 3 else "new") for n in range(1000))))
    assert len(site.order) == 1000 and site.projects[site.order[0]].summary.state == "failed"


def test_progress_belongs_to_its_attempt() -> None:
    site = model()
    site.apply(news(summary("a", "running", active=(run(node="ws1"),))))
    changes = site.apply(News(progress={("a", 1, 1): Progress(phase=Phase.RUN, percent=5.0)}))
    assert site.projects["a"].percent == 5.0 and changes.projects == {"a"}
    site.apply(News(progress={("a", 1, 1): None}))
    assert site.projects["a"].percent is None


def test_a_node_that_is_gone_takes_its_samples_along() -> None:
    site = model()
    site.apply(News(nodes={"ws1": screens.node("ws1")}, samples={"ws1": screens.sample(5)}))
    assert site.sampled == {"ws1": 500.0}
    changes = site.apply(News(nodes={"ws1": None}))
    assert not site.nodes and not site.samples and changes.nodes == {"ws1"}


def test_servers_stay_as_they_were_told() -> None:
    site = model()
    assert site.apply(News(broker=Server(up=False, problem="gone", since=3.0))).servers
    site.apply(News(store=Server(up=True)))
    assert site.broker.problem == "gone" and site.store.up


# -- calling a person


def test_a_person_is_called_for_what_cannot_wait() -> None:
    assert (
        sentence(ProjectRow(summary(name="Ulm", state="needs you", reason="set X"))) == "Ulm needs you: set X"
    )
    assert sentence(ProjectRow(summary(name="Ulm", state="succeeded", reason="x"))) == "Ulm is done"
    assert sentence(ProjectRow(summary(name="Ulm", state="running"))) == ""


@given(st.text(max_size=60))
def test_a_call_holds_no_sequence_but_its_own(text: str) -> None:
    told = sequence(text)
    assert told.count("\x1b") == 2 and told.count("\x07") == 3 and told.count(";") == 4
