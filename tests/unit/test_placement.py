from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winslow.errors import Refused
from winslow.node import FreeResources, Gpu, Hardware, NodeState, Presence
from winslow.pipeline import GpuRequirement, Requirements
from winslow.placement import (
    LOAD_SECONDS,
    UNKNOWN_IMAGE,
    WASTE_SECONDS,
    fits,
    fits_now,
    free_slots,
    missing_summary,
    pick_gpus,
    price,
    size_text,
    unfit_summary,
)

GIB = 1 << 30
BIG = Gpu(uuid="GPU-big", name="NVIDIA RTX A6000", memory=48 * GIB)
A5000 = tuple(Gpu(uuid=f"GPU-{i}", name="NVIDIA RTX A5000", memory=24_564 << 20) for i in range(2))
SMALL = Gpu(uuid="GPU-small", name="Quadro P2000", memory=5 * GIB)


def node(
    name: str = "ws1",
    *,
    cpus: float = 16,
    memory: int = 64 * GIB,
    disk: int = 1000 * GIB,
    gpus: tuple[Gpu, ...] = (),
    labels: tuple[str, ...] = (),
    used_cpus: float = 0,
    used_memory: int = 0,
    used_gpus: tuple[str, ...] = (),
    presence: Presence = Presence.ONLINE,
) -> NodeState:
    return NodeState(
        node=name,
        node_uuid=name,
        instance="i1",
        presence=presence,
        hardware=Hardware(cpus=cpus, memory=memory, disk=disk, gpus=gpus),
        free=FreeResources(
            cpus=cpus - used_cpus,
            memory=memory - used_memory,
            disk=disk,
            gpus=tuple(gpu.uuid for gpu in gpus if gpu.uuid not in used_gpus),
        ),
        labels=labels,
    )


TWO_GPUS = Requirements(gpus=GpuRequirement(count=2, memory=24 * GIB))


@pytest.mark.parametrize(
    ("requires", "reasons"),
    [
        (Requirements(), ()),
        (Requirements(cpus=16, memory=64 * GIB, disk=1000 * GIB), ()),
        (Requirements(cpus=17), ("needs 17 cores, has 16",)),
        (Requirements(memory=96 * GIB), ("needs 96 GiB of memory, has 64 GiB",)),
        (Requirements(disk=2 << 40), ("needs 2 TiB of disk, has 1000 GiB",)),
        (Requirements(tags=("video", "fast")), ("needs the tag fast, has no such tag",)),
        (TWO_GPUS, ("needs 2 GPUs with 24 GiB, has 1",)),
        (
            Requirements(gpus=GpuRequirement(name="H100")),
            ("needs 1 H100 GPU, has only NVIDIA RTX A6000 with 48 GiB",),
        ),
        (
            Requirements(cpus=32, gpus=GpuRequirement(memory=80 * GIB)),
            ("needs 1 GPU with 80 GiB, has only NVIDIA RTX A6000 with 48 GiB", "needs 32 cores, has 16"),
        ),
    ],
)
def test_every_reason_is_said_in_words(requires: Requirements, reasons: tuple[str, ...]) -> None:
    assert fits(node(gpus=(BIG, SMALL), labels=("video",)), requires) == reasons


def test_a_board_sold_with_24_gib_counts_although_its_driver_shows_less() -> None:
    assert fits(node(gpus=A5000), TWO_GPUS) == ()
    less = Gpu(uuid="GPU-x", memory=22 * GIB)
    assert fits(node(gpus=(less,)), Requirements(gpus=GpuRequirement(memory=24 * GIB)))


def test_a_gpu_of_another_vendor_does_not_count() -> None:
    other = Gpu(uuid="GPU-x", vendor="amd", memory=48 * GIB)
    assert fits(node(gpus=(other,)), Requirements(gpus=GpuRequirement())) == (
        "needs 1 GPU, has only amd with 48 GiB",
    )


def test_name_of_a_gpu_is_matched_in_part_and_without_case() -> None:
    assert fits(node(gpus=A5000), Requirements(gpus=GpuRequirement(name="a5000"))) == ()


def test_a_secret_is_looked_for_by_its_name() -> None:
    has, lacks = node("ws1"), node("ws2", used_cpus=16)
    has = has.model_copy(update={"secrets": ("HF_TOKEN",)})
    assert fits(has, Requirements(), ("HF_TOKEN",)) == ()
    assert fits_now(has, Requirements(), ("HF_TOKEN",)) == ()
    lacking = ("needs the secret HF_TOKEN, has no such secret",)
    assert fits(lacks, Requirements(), ("HF_TOKEN",)) == lacking
    assert fits_now(lacks, Requirements(), ("HF_TOKEN",)) == lacking, "it will not have it when it is idle"
    assert missing_summary([has, lacks], Requirements(), ("HF_TOKEN",)) == ""
    assert missing_summary([lacks], Requirements(), ("HF_TOKEN",)) == (
        "needs the secret HF_TOKEN; best node ws2 has no such secret"
    )


def test_fits_now_counts_what_is_free() -> None:
    busy = node(gpus=A5000, used_cpus=15, used_memory=60 * GIB, used_gpus=("GPU-0",))
    assert fits_now(busy, Requirements(cpus=1)) == ()
    assert fits_now(busy, Requirements(cpus=2, memory=8 * GIB)) == (
        "needs 2 cores, 1 free",
        "needs 8 GiB of memory, 4 GiB free",
    )
    assert fits_now(busy, TWO_GPUS) == ("needs 2 GPUs with 24 GiB, 1 free",)


def test_fits_now_says_first_what_the_whole_node_lacks_and_who_is_away() -> None:
    assert fits_now(node(used_cpus=15), Requirements(cpus=20)) == ("needs 20 cores, has 16",)
    assert fits_now(node(presence=Presence.DRAINING), Requirements()) == ("is draining",)
    assert fits_now(node(presence=Presence.OFFLINE), Requirements()) == ("is offline",)


class TestMissingSummary:
    def test_nearest_node_and_what_it_lacks(self) -> None:
        nodes = [node("ws1"), node("ws2", gpus=(SMALL, SMALL)), node("ws3", gpus=(BIG,))]
        assert missing_summary(nodes, TWO_GPUS) == "needs 2 GPUs with 24 GiB; best node ws3 has 1"

    def test_what_no_node_has_is_told_from_what_is_busy_or_away(self) -> None:
        busy = [node("ws1", used_cpus=16), node("ws2", presence=Presence.OFFLINE)]
        assert unfit_summary(busy, Requirements(cpus=4)) == ""
        assert unfit_summary(busy, Requirements(cpus=32)) == "needs 32 cores; best node ws1 has 16"

    def test_a_small_gpu_is_nearer_than_none(self) -> None:
        assert missing_summary([node("ws1"), node("ws2", gpus=(SMALL,))], TWO_GPUS) == (
            "needs 2 GPUs with 24 GiB; best node ws2 has only Quadro P2000 with 5 GiB"
        )

    def test_several_lacks_stand_in_the_same_order(self) -> None:
        requires = Requirements(cpus=32, memory=128 * GIB, tags=("video",))
        assert missing_summary([node()], requires) == (
            "needs 32 cores, 128 GiB of memory and the tag video; best node ws1 has 16, 64 GiB and no such tag"
        )

    def test_empty_when_a_node_could_take_it_now(self) -> None:
        assert missing_summary([node("ws1", used_cpus=16), node("ws2")], Requirements()) == ""

    def test_busy_nodes_are_waited_for(self) -> None:
        nodes = [node("ws1", used_cpus=15), node("ws2", presence=Presence.OFFLINE)]
        assert missing_summary(nodes, Requirements(cpus=4)) == "waits for ws1: needs 4 cores, 1 free"

    def test_nodes_that_are_away_are_named(self) -> None:
        away = node("ws2", presence=Presence.OFFLINE)
        assert missing_summary([away], Requirements()) == "waits for ws2, which is offline"
        both = [away, node("ws3", presence=Presence.DRAINING)]
        assert missing_summary(both, Requirements()) == "waits for ws2 or ws3, which are draining or offline"

    def test_many_names_are_cut(self) -> None:
        nodes = [node(f"ws{i}", used_cpus=16) for i in range(6)]
        assert missing_summary(nodes, Requirements()).startswith("waits for ws0 or ws1 or ws2 or 3 more: ")

    def test_nobody_is_known(self) -> None:
        assert missing_summary([], Requirements()) == "no node is known"


def total(parts: dict[str, float]) -> float:
    return sum(parts.values())


class TestPrice:
    def test_parts_are_seconds(self) -> None:
        loaded = node(gpus=(BIG,), used_cpus=4, used_memory=32 * GIB)
        parts = price(loaded, Requirements(), fetch_bytes=5 * 10**9, pull_bytes=10**9, rate=1e8)
        assert parts == {"fetch": 50.0, "pull": 10.0, "load": LOAD_SECONDS / 2, "waste": WASTE_SECONDS}

    def test_idle_node_with_everything_there_is_free(self) -> None:
        assert total(price(node(), Requirements(), fetch_bytes=0, pull_bytes=0, rate=1e8)) == 0

    def test_a_busy_node_loses_to_an_idle_one(self) -> None:
        busy = price(node(used_cpus=8), Requirements(), fetch_bytes=0, pull_bytes=0, rate=1e8)
        idle = price(node(), Requirements(), fetch_bytes=10**9, pull_bytes=0, rate=1e8)
        assert total(idle) < total(busy)

    def test_a_small_file_decides_between_equal_nodes(self) -> None:
        cached = price(node("a"), Requirements(), fetch_bytes=0, pull_bytes=0, rate=1e8)
        other = price(node("b"), Requirements(), fetch_bytes=10**6, pull_bytes=0, rate=1e8)
        assert total(cached) < total(other)

    def test_a_big_cached_input_outweighs_load_and_waste(self) -> None:
        cached = node(gpus=(BIG,), used_cpus=8)
        here = price(cached, Requirements(), fetch_bytes=0, pull_bytes=0, rate=1e8)
        there = price(node(), Requirements(), fetch_bytes=40 * 10**9, pull_bytes=0, rate=1e8)
        assert total(here) < total(there)

    def test_a_gpu_node_is_kept_for_stages_that_need_it(self) -> None:
        with_gpu = price(node(gpus=(BIG,)), Requirements(), fetch_bytes=0, pull_bytes=0, rate=1e8)
        without = price(node(), Requirements(), fetch_bytes=0, pull_bytes=UNKNOWN_IMAGE, rate=1e8)
        assert total(without) < total(with_gpu)
        wanted = Requirements(gpus=GpuRequirement())
        assert price(node(gpus=(BIG,)), wanted, fetch_bytes=0, pull_bytes=0, rate=1e8)["waste"] == 0

    def test_a_taken_gpu_is_load_for_who_needs_one(self) -> None:
        one_taken = node(gpus=A5000, used_gpus=("GPU-0",))
        parts = price(one_taken, Requirements(gpus=GpuRequirement()), fetch_bytes=0, pull_bytes=0, rate=1e8)
        assert parts["load"] == LOAD_SECONDS / 2

    @pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
    def test_a_rate_is_positive(self, rate: float) -> None:
        with pytest.raises(ValueError, match="more than 0 bytes"):
            price(node(), Requirements(), fetch_bytes=0, pull_bytes=0, rate=rate)


class TestGpus:
    def test_the_smallest_that_suit_are_given(self) -> None:
        state = node(gpus=(BIG, *A5000, SMALL))
        assert pick_gpus(state, Requirements(gpus=GpuRequirement(memory=20 * GIB))) == ("GPU-0",)
        assert pick_gpus(state, TWO_GPUS) == ("GPU-0", "GPU-1")
        assert pick_gpus(state, Requirements(gpus=GpuRequirement())) == ("GPU-small",)

    def test_none_are_given_where_none_are_needed(self) -> None:
        assert pick_gpus(node(gpus=A5000), Requirements()) == ()

    def test_taken_ones_are_never_given(self) -> None:
        with pytest.raises(Refused, match="needs 2 GPUs with 24 GiB, 1 free"):
            pick_gpus(node(gpus=A5000, used_gpus=("GPU-1",)), TWO_GPUS)


@pytest.mark.parametrize(
    ("state", "slots"),
    [
        (node(cpus=16, used_cpus=12), 4),
        (node(cpus=2.5, used_cpus=2), 1),
        (node(cpus=2, used_cpus=2), 0),
        (node(presence=Presence.DRAINING), 0),
        (node(used_memory=64 * GIB), 0),
    ],
)
def test_free_slots(state: NodeState, slots: int) -> None:
    assert free_slots(state) == slots


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"),
        (24 * GIB, "24 GiB"),
        (3 << 40, "3 TiB"),
    ],
)
def test_size_text(value: int, text: str) -> None:
    assert size_text(value) == text


gpus = st.lists(
    st.builds(Gpu, uuid=st.uuids().map(str), memory=st.integers(0, 80).map(lambda gib: gib * GIB)), max_size=4
)


@given(
    st.floats(0.5, 64),
    st.integers(0, 256),
    gpus,
    st.data(),
    st.floats(0.5, 64),
    st.integers(0, 256),
    st.one_of(
        st.none(),
        st.builds(GpuRequirement, count=st.integers(1, 3), memory=st.integers(0, 48).map(lambda g: g * GIB)),
    ),
)
def test_what_fits_now_fits_and_gets_gpus_that_suit(
    cpus: float, memory: int, boards: list[Gpu], data: st.DataObject, need_cpus: float, need_memory: int,
    need_gpus: GpuRequirement | None,
) -> None:  # fmt: skip
    used = tuple(gpu.uuid for gpu in boards if data.draw(st.booleans()))
    state = node(
        cpus=cpus,
        memory=memory * GIB,
        gpus=tuple(boards),
        used_gpus=used,
        used_cpus=data.draw(st.floats(0, cpus)),
    )
    requires = Requirements(cpus=need_cpus, memory=need_memory * GIB, gpus=need_gpus)
    if fits(state, requires):
        assert fits_now(state, requires)
    assert bool(missing_summary([state], requires)) == bool(fits_now(state, requires))
    if not fits_now(state, requires):
        given_out = pick_gpus(state, requires)
        assert len(set(given_out)) == (need_gpus.count if need_gpus else 0)
        assert not set(given_out) & set(used)
