"""A proxy before a real store applies writes and drops, delays or doubles the answer: once is once (I10)."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from tests.faults.counter import PIPELINE, Added, add, added_to, event_ids, new_project
from tests.faults.proxy import ProxyFault, faulty_proxy
from tests.services.servers import StoreService
from tests.stores import connected
from winslow import lifecycle, node_wish
from winslow.config import Config, Settings
from winslow.errors import NotFound, StoreUnreachable
from winslow.events import Claimed, Ended, Event, Exited, Started
from winslow.pipeline import Confirmation, Retention
from winslow.project import Tombstone
from winslow.store.documents import Documents
from winslow.store.patience import Patience
from winslow.store.pipelines import Pipelines
from winslow.store.s3 import S3Store
from winslow.store.wishes import Wishes
from winslow_tui.facade.changes import Changes
from winslow_tui.facade.client import Client
from winslow_tui.facade.link import Link

SEEDS = 50
Story = Callable[[Client, str], Iterator[object]]
EVENTS = 3
PROJECT = "count-abcd"
WEIGHTS = {
    ProxyFault.NONE: 8,
    ProxyFault.REQUEST_DROPPED: 1,
    ProxyFault.ANSWER_DROPPED: 3,
    ProxyFault.ANSWER_DELAYED: 2,
    ProxyFault.ANSWER_REPLACED: 1,
    ProxyFault.REQUEST_DELAYED: 2,
    ProxyFault.TWICE: 2,
}


class Dice:
    """A plan for writes; proxies ask from many threads."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> ProxyFault:
        if method != "PUT":
            return ProxyFault.NONE
        with self._lock:
            return self._rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]


@contextmanager
def badly_connected(service: StoreService, endpoint: str) -> Iterator[S3Store]:
    """A store whose writes go to an endpoint and are soon given up; everything else has the time of a busy machine."""
    with connected(service) as store, connected(service, endpoint=endpoint, read_timeout=0.25) as behind:
        store.put = behind.put  # type: ignore[method-assign]
        yield store


def client(service: StoreService, endpoint: str, project: str, name: str) -> list[str]:
    """Send all events from behind a proxy; the ids of those that were acknowledged."""
    done = []
    with badly_connected(service, endpoint) as store:
        documents = Documents(store, patience=Patience(deadline=90.0, rng=random.Random(name)))
        for number in range(EVENTS):
            event = Added(f"{name}-{number}")
            with suppress(StoreUnreachable):
                documents.update(project, event, apply=add)
                done.append(event.id)
    return done


def race(service: StoreService, seed: int) -> tuple[int, Counter[ProxyFault]]:
    """Two clients change one document, each from behind a proxy of its own."""
    project = f"count-{seed}"
    with (
        connected(service) as direct,
        faulty_proxy(service.endpoint, Dice(2 * seed)) as first,
        faulty_proxy(service.endpoint, Dice(2 * seed + 1)) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        documents = Documents(direct)
        documents.create(new_project(project))
        clients = [
            pool.submit(client, service, proxy.url, project, f"{name}{seed}")
            for name, proxy in (("a", first), ("b", second))
        ]
        done = [event for future in clients for event in future.result()]
        first.wait_idle()
        second.wait_idle()
        held = added_to(documents, project)
        counts = first.counts + second.counts
    assert len(set(held)) == len(held), f"seed {seed}: applied twice"
    assert set(done) <= set(held), f"seed {seed}: acknowledged and lost"
    return len(done), counts


def test_nothing_is_applied_twice_and_nothing_lost_behind_a_bad_proxy(s3_server: StoreService) -> None:
    service = s3_server.with_new_bucket()
    with ThreadPoolExecutor(6) as pool:  # they mostly wait for time-outs
        raced = list(pool.map(lambda seed: race(service, seed), range(SEEDS)))
    assert sum(acknowledged for acknowledged, _ in raced) > SEEDS * EVENTS
    counts = sum((counts for _, counts in raced), Counter[ProxyFault]())
    assert all(counts[fault] > 10 for fault in WEIGHTS), counts


@pytest.mark.parametrize("fault", [fault for fault in WEIGHTS if fault is not ProxyFault.NONE])
def test_each_fault_alone_is_made_good(s3_server: StoreService, fault: ProxyFault) -> None:
    service = s3_server.with_new_bucket()
    faults: list[ProxyFault] = []

    def plan(method: str, path: str) -> ProxyFault:
        return faults.pop() if method == "PUT" and faults else ProxyFault.NONE

    with (
        faulty_proxy(service.endpoint, plan) as proxy,
        badly_connected(service, proxy.url) as store,
    ):
        documents, pipelines = Documents(store), Pipelines(store)
        faults.append(fault)
        documents.create(new_project())
        faults.append(fault)
        document, etag = documents.update(PROJECT, Added("a"), apply=add)
        faults.append(fault)
        assert pipelines.apply("traffic", "name: traffic\n") == 1
        assert faults == []
        proxy.wait_idle()
        assert documents.read(PROJECT) == (document, etag)
        assert added_to(documents, PROJECT) == ("a",)
        assert pipelines.read("traffic").text == "name: traffic\n"


def ran(n: int) -> list[Event]:
    """What a node says of run `n`, from its claim to a good end."""
    node = {"n": n, "k": 1, "claim": f"c{n}"}
    return [
        Claimed.model_validate(node | {"id": f"claimed-{n}", "node": "ws1", "node_uuid": "u"}),
        Started.model_validate(node | {"id": f"started-{n}"}),
        Exited.model_validate(node | {"id": f"exited-{n}", "exit_code": 0}),
        Ended.model_validate(node | {"id": f"ended-{n}", "outcome": "succeeded"}),
    ]


def starts(person: Client, id_: str) -> Iterator[object]:
    """Runs from their start to their end, in every way there is."""
    runs = person.runs
    yield runs.start(id_, changes=Changes(env={"A": "1"}))
    yield from (person.link.change(id_, event) for event in ran(1))
    yield runs.start(id_, stage="count")
    yield runs.pause(id_)
    yield runs.resume(id_)
    yield runs.abort(id_)
    yield runs.redo(id_, 1, changes=Changes(single=True))
    yield runs.abort(id_, run=3, now=True)


def next_ones(person: Client, id_: str) -> Iterator[object]:
    """What comes next, and what a stage asks for."""
    runs = person.runs
    for _ in range(3):
        yield runs.enqueue(id_, stage="count")
    yield runs.enqueue(id_, stage="count", first=True)
    yield runs.move(id_, "4", 1)
    yield runs.dequeue(id_, ["2"])
    seen = person.project(id_)
    (stage,) = seen.pipeline.definition.stages
    asking = stage.model_copy(update={"require_env": ("LANE",)})
    definition = seen.pipeline.definition.model_copy(
        update={"stages": (asking,), "confirmation": Confirmation.ALWAYS}
    )
    yield person.projects.change_pipeline(seen, definition)
    yield runs.resume(id_)  # which asks for a value
    yield runs.answer(id_, {"LANE": "1"})
    yield runs.abort(id_)
    yield person.projects.set_env(id_, {}, unset=["LANE"])
    yield person.projects.set_env(id_, {"LANE": "2"})
    yield runs.dequeue(id_, ["1"])
    yield runs.dequeue(id_, ["1"])
    yield runs.resume(id_)  # which asks for a confirmation
    yield runs.confirm(id_)


def particulars(person: Client, id_: str) -> Iterator[object]:
    """What a project is called and how it is kept."""
    projects, pruning = person.projects, person.pruning
    yield projects.rename(id_, "Other")
    yield projects.tag(id_, add=["a"])
    yield projects.participate(id_, add=["ann"])
    yield projects.set_env(id_, {"A": "1"})
    yield projects.prioritize(id_, 3)
    yield projects.comment(id_, "text")
    yield projects.archive(id_)
    yield projects.archive(id_, archived=False)
    yield projects.retain(id_, Retention(keep_last=1))
    yield person.runs.start(id_)
    yield from (person.link.change(id_, event) for event in ran(1))
    yield pruning.pin(id_, [1])
    yield pruning.unpin(id_, [1])
    yield pruning.prune(pruning.plan(id_, [1]))


def node_wishes(person: Client, _: str) -> Iterator[object]:
    """What is wanted of a node; its document counts its revisions, too."""
    wishes = Wishes(person.store, patience=person.link.patience)
    node = f"n{secrets.token_hex(4)}"
    told: tuple[node_wish.Event, ...] = (
        node_wish.DrainWished(id="drain"),
        node_wish.Labelled(id="label", add=("a",)),
        node_wish.DrainEnded(id="undrain"),
        node_wish.Forgotten(id="forget"),
        node_wish.Returned(id="return"),
    )
    for event in told:
        wishes.update(node, event)
    assert [each.id for each in wishes.read(node).document.recent_events] == [each.id for each in told]
    yield from ()


def making(person: Client, id_: str) -> Iterator[object]:
    """What makes and removes documents of its own: definitions and projects."""
    name = f"{id_}-two"
    text = f"name: {name}\nstages: [{{name: one, image: i}}]\n"
    assert person.pipelines.apply(text, source="two.yaml")[1] == 1
    assert person.pipelines.apply(text + "description: new\n", source="two.yaml")[1] == 2
    made = person.projects.create(name, pipeline=name)
    cloned = person.projects.clone(made.id, f"{name} again")
    assert [person.project(each.id).revision for each in (made, cloned)] == [1, 1]
    person.pipelines.delete(name)
    with pytest.raises(NotFound):
        person.pipelines.get(name)
    yield from ()


def commands(service: StoreService, story: Story, seed: int) -> Counter[ProxyFault]:
    """A person's commands and a node's events, all behind one proxy."""
    settings = Settings.model_validate({"store": {"url": f"{service.endpoint}/{service.bucket}"}})
    with (
        connected(service) as direct,
        faulty_proxy(service.endpoint, Dice(seed)) as proxy,
        badly_connected(service, proxy.url) as store,
    ):
        config = Config(settings=settings, origins={})
        patience = Patience(deadline=90.0, rng=random.Random(seed))
        person = Client(config, link=Link(config, store=store, patience=patience))
        project = lifecycle.create(
            id=f"p-{story.__name__.replace('_', '-')}-{seed}",
            event_id="made",
            name=f"P {seed}",
            pipeline=PIPELINE,
            source_revision=1,
        )
        Documents(direct).create(project)
        done = sum(1 for _ in story(person, project.id))
        person.projects.delete(project.id)
        proxy.wait_idle()
        document = Documents(direct).read(project.id).document
    assert isinstance(document, Tombstone)
    recent = event_ids(document)
    assert len(recent) == len(set(recent)) == document.revision == done + 2, f"seed {seed}: {recent}"
    return proxy.counts


def test_every_command_takes_effect_once_behind_a_bad_proxy(s3_server: StoreService) -> None:
    stories: list[Story] = [starts, next_ones, particulars, node_wishes, making]
    buckets = {story: s3_server.with_new_bucket() for story in stories}  # names are looked up in listings
    told = [(story, seed) for seed in range(SEEDS) for story in stories]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda each: commands(buckets[each[0]], *each), told))
    counts = sum(counted, Counter[ProxyFault]())
    assert all(counts[fault] > 10 for fault in WEIGHTS), counts
