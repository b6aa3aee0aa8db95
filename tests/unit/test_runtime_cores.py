"""`node_agent.runtime.cores`: CPU time as cores, from the first look on."""

from __future__ import annotations

import pytest

from node_agent.runtime.cores import LEAST_SECONDS, Cores


@pytest.fixture
def cores() -> Cores:
    return Cores()


def test_the_first_look_tells_of_all_of_the_containers_life(cores: Cores) -> None:
    cores.begin("a", now=100.0, age=4.0)
    assert cores.look("a", now=100.0, seconds=2.0) == pytest.approx(0.5)


def test_what_starting_a_container_took_is_no_peak(cores: Cores) -> None:
    cores.begin("a", now=100.0, age=0.016)
    assert cores.look("a", now=100.0, seconds=0.025) == pytest.approx(0.025 / LEAST_SECONDS)


def test_later_looks_tell_of_the_time_between_them(cores: Cores) -> None:
    cores.begin("a", now=100.0, age=4.0)
    cores.look("a", now=100.0, seconds=2.0)
    assert cores.look("a", now=102.0, seconds=5.0) == pytest.approx(1.5)
    assert cores.look("a", now=102.0, seconds=5.0) == 0.0
    assert cores.look("a", now=104.0, seconds=4.0) == 0.0, "processes that ended took their time along"


def test_containers_are_told_apart_and_forgotten(cores: Cores) -> None:
    cores.begin("a", now=100.0, age=4.0)
    assert "a" in cores
    assert "b" not in cores
    assert cores.look("b", now=100.0, seconds=7.0) == 0.0
    cores.forget("a")
    cores.forget("a")
    assert "a" not in cores
