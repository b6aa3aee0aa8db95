from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from node_agent.environment import resolve, wanted
from winslow.address import Address
from winslow.errors import NotFound
from winslow.pipeline import Requirements, StageDefinition
from winslow.project import EnvValue, Origin, Run

PLACES = {"/run/secrets": "/s", "/resources": "/r", "/input": "/i", "/workspace": "/w", "/output": "/o"}


def run(
    env: dict[str, str], inputs: tuple[str, ...] = (), input_runs: Mapping[str, int] = MappingProxyType({})
) -> Run:
    stage = StageDefinition(
        name="detect", image="i", inputs=inputs, requires=Requirements(cpus=1.5, memory=2 << 30)
    )
    values = {k: EnvValue(value=v, origin=Origin.RUN) for k, v in env.items()}
    return Run(n=3, stage=stage, env=values, input_runs=dict(input_runs))


def test_addresses_become_paths_and_the_rest_stays() -> None:
    final = resolve(
        project_id="ulm-7k2f",
        project_name="Ulm [red]",
        run=run({
            "VIDEO": "res:a/b.mp4",
            "MASK": "ulm-7k2f:input/m.png",
            "OLD": "b10:output/x.csv",
            "PREV": "ulm-7k2f#2:tracks.txt",
            "URL": "http://host/x",
            "TOKEN_FILE": "secret:TOKEN",
        }),
        places=PLACES,
        gpus=2,
    )  # fmt: skip
    assert final["VIDEO"] == "/r/a/b.mp4"
    assert final["MASK"] == "/i/m.png"
    assert final["OLD"] == "/r/@b10/output/x.csv"
    assert final["PREV"] == "/r/@ulm-7k2f/2/tracks.txt"
    assert final["URL"] == "http://host/x"
    assert final["TOKEN_FILE"] == "/s/TOKEN"
    assert final["WINSLOW_PROJECT_NAME"] == "Ulm [red]"
    assert final["WINSLOW_DIR_OUTPUT"] == "/o"
    assert (final["WINSLOW_RES_CORES"], final["WINSLOW_RES_RAM_MB"]) == ("1.5", "2048")
    assert final["WINSLOW_RES_GPU_COUNT"] == "2"


def test_each_address_is_wanted_once() -> None:
    found = wanted("p", run({"A": "res:x", "B": "res:x", "C": "plain"}, inputs=("res:x", "res:dir/")))
    assert [(each.where.path, each.where.folder, each.target) for each in found] == [
        ("x", False, "/resources/x"),
        ("dir", True, "/resources/dir"),
    ]


def test_files_of_an_earlier_stage_come_from_the_run_that_the_document_names() -> None:
    inputs = ("#train:model.pt", "#train:runs/", "#make.it:")
    model, folder, whole = wanted("p", run({}, inputs=inputs, input_runs={"train": 4, "make.it": 1}))
    assert model.where == Address(place="workspace", project="p", run=4, path="model.pt")
    assert (model.target, model.name) == ("/resources/@stages/train/model.pt", "#train:model.pt (run #4)")
    assert (folder.where.folder, folder.target) == (True, "/resources/@stages/train/runs")
    assert (whole.where.run, whole.where.path, whole.target) == (1, "", "/resources/@stages/make.it")


def test_an_earlier_stage_without_a_run() -> None:
    with pytest.raises(NotFound, match="#train:x: there is no run of stage 'train' to take it from"):
        wanted("p", run({}, inputs=("#train:x",)))
