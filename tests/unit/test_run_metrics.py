"""What a run uses, as curves and words (`winslow_tui.program.runmetrics`), and the tab that shows it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Static

from broker import topics
from tests import screens
from tests.screens import GIB, ULM
from winslow.metrics import ContainerSample, GpuSample
from winslow.project import Attempt, Peak, Run
from winslow.usage import MOST_POINTS as agent_points
from winslow.usage import Usage
from winslow_tui.program.runmetrics import MOST_POINTS, RunUsage, fit, recorded
from winslow_tui.screens.metricspane import MetricsPane


def sample(
    at: float, *, cpus: float = 1.0, memory: int = GIB, gpus: tuple[GpuSample, ...] = ()
) -> ContainerSample:
    return ContainerSample(
        at=at, cpus=cpus, memory=memory, memory_limit=4 * GIB, read_rate=2e6, write_rate=0, net_in=3e3, processes=7,
        gpus=gpus,
    )  # fmt: skip


@pytest.fixture
def run() -> Run:
    """The running one of ULM: `track`, two cores, 4 GiB."""
    run = screens.site().client(screens.CONFIG).project(ULM).run(3)
    assert run is not None
    return run


def test_the_past_of_any_length_is_kept_in_bounds_from_its_beginning(run: Run) -> None:
    usage = RunUsage()
    for at in range(20_000):
        usage.add(sample(at, cpus=2.0 if at < 10_000 else 0.5))
    assert len(usage.life.points) <= MOST_POINTS + 1
    (_, curve, words) = usage.rows(run, 20)[0]
    assert words == "0.5 of 2 cores" and len(curve) == 20
    assert set(curve[:9]) == {"█"} and set(curve[11:19]) == {"▃"}


def test_who_comes_late_goes_on_with_what_the_agent_kept(run: Run) -> None:
    agent, usage = Usage(), RunUsage()
    for at in range(1_001):
        agent.add(sample(2.0 * at, cpus=2.0 if at < 500 else 1.0, memory=3 * GIB if at < 500 else GIB))
    past = agent.past()
    assert past is not None and len(past.points) <= agent_points + 1 and past.each == 16
    usage.add(sample(2_002.0))
    usage.add(sample(2_004.0).model_copy(update={"past": past}))
    assert usage.seconds == 2_004.0 and usage.most is not None and usage.most.memory == 3 * GIB
    (_, curve, _) = usage.rows(run, 20)[0]
    assert set(curve[:9]) == {"█"} and set(curve[11:]) == {"▅"}
    usage.add(sample(2_006.0).model_copy(update={"past": past}))
    assert len(usage.life.points) <= MOST_POINTS + 1, "it is learned once"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.integers(1, 9))
def test_a_past_in_bounds_keeps_the_mean(values: list[float], most: int) -> None:
    life = Usage(most=most)
    for at, value in enumerate(values):
        life.add(sample(float(at), cpus=value))
    points = life.points
    assert len(points) <= most + 1
    rest = len(values) - life.each * (len(points) - 1)
    weights = [*[life.each] * (len(points) - 1), rest]
    told = sum(point.cpus * weight for point, weight in zip(points, weights, strict=True))
    assert 0 < rest <= life.each and told == pytest.approx(sum(values), abs=1e-6)


def test_the_newest_and_the_most_are_told_in_words(run: Run) -> None:
    usage = RunUsage()
    gpu = GpuSample(uuid="g", percent=88, memory=19 * GIB, memory_total=24 * GIB, temperature=71)
    usage.add(sample(0, cpus=1.75, memory=3 * GIB, gpus=(gpu,)))
    usage.add(sample(2, cpus=0.25, memory=GIB, gpus=(gpu.model_copy(update={"percent": 12.0}),)))
    rows = {name: words for name, _, words in usage.rows(run, 10)}
    assert rows["cpu"] == "0.2 of 2 cores" and rows["memory"] == "1 GiB of 4 GiB"
    assert rows["gpu 0"] == "12%, 19 GiB of 24 GiB, 71 °C" and rows["processes"] == "7"
    assert rows["disk read"] == "1.9 MiB/s" and rows["net out"] == "0 B/s"
    told = dict(usage.peaks())
    assert (told["cpu"], told["memory"], told["gpu 0"]) == ("1.8 cores", "3 GiB", "88%")


def test_what_is_recorded_of_an_attempt_is_told(run: Run) -> None:
    attempt = Attempt(k=1, claim="c", node="ws1", node_uuid="u", peak=Peak(memory=3 * GIB, cpus=1.5))
    assert recorded(run, attempt) == [("cpu", "1.5 of 2 cores"), ("memory", "3 GiB, 75% of its 4 GiB")]
    assert recorded(run, Attempt(k=1, claim="c", node="ws1", node_uuid="u")) == []


def test_a_curve_is_fitted_to_its_width() -> None:
    assert fit([1, 2, 3], 5) == [1, 2, 3]
    assert fit([1, 1, 3, 3, 5, 5], 3) == [1, 3, 5]
    assert len(fit(list(range(1000)), 7)) == 7


async def test_the_tab_shows_samples_as_they_come_and_peaks_of_what_has_ended(tmp_path: Path) -> None:
    site = screens.site()
    app = screens.app(site, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:

        def shown() -> str:
            return str(app.screen.query_one("#metrics-text", Static).content)

        async def until(text: str) -> None:
            deadline = time.monotonic() + 60
            while not (app.screen.query(MetricsPane) and text in shown()):
                assert time.monotonic() < deadline, shown()
                await pilot.pause(0.02)

        app.open_project(ULM)
        await pilot.pause(0.2)
        await pilot.press("4")
        await until("no sample has come yet")
        assert site.watch is not None
        for at in range(5):
            busy = GpuSample(uuid="g", percent=20.0 * at, memory=2 * GIB, memory_total=24 * GIB)
            site.watch.hear(
                topics.Stats(project=ULM, run=3, attempt=1), sample(2.0 * at, cpus=0.4 * at, gpus=(busy,))
            )
        await until("1.6 of 2 cores")
        assert "80%, 2 GiB of 24 GiB" in shown() and "gpu 0       80%" in shown()
        assert "1 GiB of 4 GiB" in shown() and "at most" in shown()
        await pilot.press("[")
        await until("as its node recorded it")
        assert "curves are drawn while it runs" in shown() and "no sample" not in shown()
