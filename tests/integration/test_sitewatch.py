"""The thread that listens to a site, over a real broker: what is there, what is new, and servers that go and come."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from broker import topics
from broker.embedded import BrokerKind
from broker.messages import Phase, PipelineNotice, Progress, ProjectSummary
from tests import screens
from tests.conftest import BrokerFactory
from tests.faults.link import Link
from tests.services.servers import BrokerService
from tests.services.waiting import wait_until
from winslow.config import BrokerSettings, Config, Settings
from winslow.node import NodeState, Presence
from winslow.store.memory import MemoryStore
from winslow_tui.facade import live
from winslow_tui.facade.client import Client
from winslow_tui.program.sitemodel import SiteModel
from winslow_tui.program.sitewatch import SiteWatch


class Watched:
    """A site that is watched, as the program's timer does."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = MemoryStore()
        self.watch = SiteWatch(config, Client(config, store=self.store))
        self.site = SiteModel(clock=lambda: 0.0)

    def until(self, condition: Callable[[], object], what: str = "it") -> None:
        def looked() -> object:
            self.site.apply(self.watch.take())
            return condition()

        wait_until(looked, seconds=120.0, what=what)


def config_of(url: str, **more: str) -> Config:
    broker = BrokerSettings.model_validate({"url": url, **more})
    return Config(settings=Settings(site=f"t{secrets.token_hex(4)}", broker=broker), origins={})


@pytest.fixture
def watched(mosquitto_broker: BrokerService) -> Iterator[Watched]:
    made = Watched(config_of(mosquitto_broker.url))
    yield made
    made.watch.close()


def summary(revision: int, state: str = "new", id_: str = "ulm-abcd") -> ProjectSummary:
    return ProjectSummary(id=id_, revision=revision, name="Ulm", state=state)


def tell(watched: Watched, *messages: tuple[topics.Topic, object]) -> None:
    live.publish(watched.config, messages)  # type: ignore[arg-type]


def tell_all(watched: Watched, messages: Sequence[tuple[topics.Topic, object]]) -> None:
    """So many at a time that a busy broker has taken them before a command gives it up."""
    for at in range(0, len(messages), 500):
        tell(watched, *messages[at : at + 500])


def test_what_is_there_and_what_is_new(watched: Watched) -> None:
    project, node = topics.ProjectState(project="ulm-abcd"), topics.NodeState(node="ws1")
    tell(
        watched,
        (project, summary(3)),
        (node, screens.node("ws1")),
        (topics.PipelineNotice(name="t"), PipelineNotice(name="t", revision=1)),
    )
    watched.watch.start()
    watched.until(lambda: watched.site.projects and watched.site.nodes and watched.site.pipelines, "the site")
    watched.until(lambda: watched.site.broker.up and watched.site.store.up, "both servers")
    tell(watched, (project, summary(2, "failed")), (project, summary(4, "running")))
    watched.until(lambda: watched.site.projects["ulm-abcd"].summary.revision == 4, "the newer one")
    tell(
        watched,
        (topics.Progress(project="ulm-abcd", run=1, attempt=1), Progress(phase=Phase.RUN, percent=5.0)),
    )
    watched.until(lambda: watched.site.progress, "progress")
    tell(watched, (project, None), (node, None))
    watched.until(lambda: not watched.site.projects and not watched.site.nodes, "their end")


def test_a_late_summary_is_ignored(watched: Watched) -> None:
    project = topics.ProjectState(project="ulm-abcd")
    watched.watch.start()
    watched.until(lambda: watched.site.broker.up)
    tell(watched, (project, summary(7, "running")))
    watched.until(lambda: watched.site.projects)
    tell(watched, (project, summary(6, "failed")), (topics.NodeState(node="after"), screens.node("after")))
    watched.until(lambda: "after" in watched.site.nodes)
    assert watched.site.projects["ulm-abcd"].summary.state == "running"


def test_a_stream_brings_a_topic_only_while_it_is_wanted(watched: Watched) -> None:
    metrics = topics.NodeMetrics(node="ws1")
    watched.watch.start()
    watched.until(lambda: watched.site.broker.up)
    stream = watched.watch.stream(topics.NODE_METRICS, size=2)

    def arrived() -> bool:
        tell(watched, (metrics, screens.sample(5)))
        return bool(watched.site.samples)

    watched.until(arrived, "a sample")
    for _ in range(5):
        tell(watched, (metrics, screens.sample(6)))
    watched.until(lambda: stream.dropped > 0, "what nobody fetched is counted")
    assert len(stream.take()) <= 2
    watched.watch.end(stream)
    assert not watched.watch._extra


def test_ten_thousand_projects_arrive_whole(watched: Watched) -> None:
    told = [(topics.ProjectState(project=f"p-{n:05}"), summary(1, id_=f"p-{n:05}")) for n in range(10_000)]
    tell_all(watched, told)
    watched.watch.start()
    watched.until(lambda: len(watched.site.projects) == 10_000, "all of them")
    assert watched.site.counts["new"] == 10_000 and len(watched.site.order) == 10_000
    tell_all(watched, [(topic, None) for topic, _ in told])


def test_a_broker_that_goes_and_comes_back(broker_factory: BrokerFactory) -> None:
    broker = broker_factory(BrokerKind.MOSQUITTO)
    watched = Watched(config_of(broker.url))
    try:
        tell(watched, (topics.ProjectState(project="ulm-abcd"), summary(1)))
        watched.watch.start()
        watched.until(lambda: watched.site.projects)
        broker.stop()
        watched.until(lambda: watched.site.broker.up is False and watched.site.broker.problem, "away")
        assert watched.site.projects, "what was known stays"
        broker.start()
        watched.until(lambda: watched.site.broker.up, "back")
        tell(watched, (topics.ProjectState(project="ulm-abcd"), summary(2, "running")))
        watched.until(lambda: watched.site.projects["ulm-abcd"].summary.revision == 2, "what is new")
    finally:
        watched.watch.close()


def test_a_store_that_refuses_says_why_and_is_asked_again(watched: Watched) -> None:
    from winslow.errors import StoreUnreachable
    from winslow.store.port import Blob

    problems = ["the bucket 'x' is not there", ""]

    class Refusing(MemoryStore):
        def get(self, key: str) -> Blob:
            if problems[0]:
                raise StoreUnreachable(problems[0])
            return super().get(key)

    watch = SiteWatch(watched.config, Client(watched.config, store=Refusing()), every=0.1)
    site = SiteModel(clock=lambda: 0.0)
    watch.start()
    try:
        wait_until(lambda: site.apply(watch.take()) and site.store.up is False, what="the problem")
        assert site.store.problem == problems.pop(0)
        wait_until(lambda: site.apply(watch.take()) and site.store.up, what="its end")
    finally:
        watch.close()


def test_nothing_that_says_where_the_broker_is() -> None:
    watched = Watched(config_of(""))
    watched.watch.start()
    try:
        watched.until(lambda: watched.site.broker.up is False)
        assert "nothing says where the broker is" in watched.site.broker.problem
    finally:
        watched.watch.close()


def test_news_of_a_node_that_says_goodbye(watched: Watched) -> None:
    node: NodeState = screens.node("ws1")
    tell(watched, (topics.NodeState(node="ws1"), node))
    watched.watch.start()
    watched.until(lambda: "ws1" in watched.site.nodes)
    tell(watched, (topics.NodeState(node="ws1"), node.model_copy(update={"presence": Presence.OFFLINE})))
    watched.until(lambda: watched.site.nodes["ws1"].presence is Presence.OFFLINE)


def test_a_store_that_says_nothing_is_away_until_it_speaks(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    from winslow.store.port import Blob

    monkeypatch.setattr("winslow_tui.program.sitewatch.SILENT_SECONDS", 0.1)
    speaks = threading.Event()

    class Silent(MemoryStore):
        def get(self, key: str) -> Blob:
            speaks.wait()
            return super().get(key)

    watch = SiteWatch(watched.config, Client(watched.config, store=Silent()), every=0.1)
    site = SiteModel(clock=lambda: 0.0)
    watch.start()
    try:
        wait_until(lambda: site.apply(watch.take()) and site.store.up is False, what="its silence")
        assert "has not answered" in site.store.problem and site.store.hint
        speaks.set()
        wait_until(lambda: site.apply(watch.take()) and site.store.up, what="its word")
    finally:
        speaks.set()
        watch.close()


def test_a_node_that_was_forgotten_meanwhile_is_dropped_once_all_have_had_time_to_come_back(
    mosquitto_broker: BrokerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winslow_tui.program.sitewatch.SETTLED_SECONDS", 0.2)
    whole = config_of(mosquitto_broker.url)
    gone, here = (topics.NodeState(node=name) for name in ("gone", "here"))
    with closing(Link(mosquitto_broker.url)) as line:
        broker = BrokerSettings(url=line.url)
        watched = Watched(replace(whole, settings=whole.settings.model_copy(update={"broker": broker})))
        try:
            live.publish(whole, [(gone, screens.node("gone")), (here, screens.node("here"))])
            watched.watch.start()
            watched.until(lambda: watched.site.nodes.keys() == {"gone", "here"}, "the nodes")
            line.cut()
            watched.until(lambda: watched.site.broker.up is False, "the cut")
            live.publish(whole, [(gone, None)])
            assert watched.site.nodes.keys() == {"gone", "here"}, "what was known stays"
            line.mend()
            watched.until(lambda: watched.site.nodes.keys() == {"here"}, "that only one is left")
        finally:
            watched.watch.close()
