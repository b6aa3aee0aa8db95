"""Definitions: the models' rules, and what `parse` says of each mistake (R1110, issue 2 'Must show')."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
from pydantic import ValidationError

from winslow.definition_text import MAX_BYTES, InvalidDefinition, Position
from winslow.errors import InvalidInput
from winslow.pipeline import PipelineDefinition, json_schema, parse

TRAFFIC = dedent(
    """\
    name: traffic
    description: from video to speeds
    env: {CONF: 0.350, VERBOSE: true}
    stages:
      - name: detect
        image: registry.local/traffic:1
        command: [detect, --scale, 1.50]
        inputs: ["res:traffic/ulm.mp4"]
        requires:
          cpus: 4
          memory: 8GiB
          shm: 500 MB
          gpus: {count: 2, memory: 24GiB}
        lost_after: 2h
        retry: {max: 3, on: [node_lost, storage]}
      - name: track
        image: registry.local/traffic:1
        lost_after: never
    """
)


def problems(text: str) -> list[tuple[int, int, str, str]]:
    """What `parse` finds, as (line, column, key, message); every problem names the source."""
    with pytest.raises(InvalidDefinition) as caught:
        parse(text, source="p.yaml")
    assert caught.value.exit_code == 1
    for problem in caught.value.problems:
        place = f"p.yaml:{problem.position.line}:{problem.position.column}: "
        assert place in str(caught.value)
    return [(p.position.line, p.position.column, p.key, p.message) for p in caught.value.problems]


def one(text: str) -> tuple[int, int, str, str]:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_a_whole_definition() -> None:
    definition = parse(TRAFFIC, source="traffic.yaml")
    detect, track = definition.stages
    assert definition.name == "traffic"
    assert detect.requires.memory == 8 << 30
    assert detect.requires.shm == 500 * 10**6
    assert detect.requires.gpus is not None
    assert (detect.requires.gpus.count, detect.requires.gpus.memory) == (2, 24 << 30)
    assert detect.lost_after == 7200.0
    assert track.lost_after == "never"
    assert detect.retry.max == 3
    assert definition.after("detect") == track
    assert definition.after("track") is None
    assert definition.stage("nothing") is None


def test_values_reach_the_stage_as_they_were_written() -> None:
    definition = parse(TRAFFIC, source="traffic.yaml")
    assert definition.env == {"CONF": "0.350", "VERBOSE": "true"}
    assert definition.stages[0].command == ("detect", "--scale", "1.50")


def test_a_definition_survives_json() -> None:
    definition = parse(TRAFFIC, source="traffic.yaml")
    assert PipelineDefinition.model_validate_json(definition.model_dump_json()) == definition


def test_anchors_are_fine() -> None:
    text = "name: a\nstages:\n- {name: x, image: y, env: &e {A: 1}}\n- {name: z, image: y, env: *e}\n"
    definition = parse(text, source="p.yaml")
    assert definition.stages[0].env == definition.stages[1].env == {"A": "1"}


def test_no_name() -> None:
    line, column, key, message = one("# the first line\nstages: [{name: a, image: b}]\n")
    assert (line, column, key) == (2, 1, "name")
    assert "'name' is missing" in message


def test_no_stage() -> None:
    assert one("name: a\n")[2:] == ("stages", "the key 'stages' is missing")
    assert one("name: a\nstages: []\n") == (2, 9, "stages", "a pipeline needs at least one stage")


@pytest.mark.parametrize(
    ("stage", "column", "key", "nearest"),
    [
        ("{name: x, image: y, imge: z}", 23, "imge", "image"),
        ("{name: x, image: y, qqqqq: z}", 23, "qqqqq", ""),
        ("{name: x, imge: y}", 13, "imge", "image"),
        ("{name: x, image: y, requires: {cpu: 3}}", 34, "requires.cpu", "cpus"),
        ("{name: x, image: y, requires: {gpus: {Count: 3}}}", 41, "requires.gpus.Count", "count"),
        ("{name: x, image: y, retry: {maximum: 3}}", 31, "retry.maximum", "max"),
    ],
)
def test_unknown_key(stage: str, column: int, key: str, nearest: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse(f"name: a\nstages:\n- {stage}\n", source="p.yaml")
    found = [p for p in caught.value.problems if "unknown key" in p.message]
    assert len(found) == 1
    assert found[0].position == Position(3, column)
    assert found[0].key == f"stages[0].{key}"
    assert found[0].nearest == nearest
    assert (f"did you mean '{nearest}'?" if nearest else "valid here: ") in found[0].message


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("memory", "8GX", "did you mean 8GB?"),
        ("memory", "8 gibibytes", "KiB, MiB, GiB"),
        ("memory", "16", "write a number with KiB"),
        ("memory", "-1", "not a size"),
        ("memory", "lots", "not a size"),
        ("memory", "[1]", "not a size"),
        ("cpus", "four", "a number is expected"),
        ("cpus", "0", "greater than 0"),
        ("cpus", ".nan", "is expected|greater than"),
    ],
)
def test_wrong_unit(key: str, value: str, says: str) -> None:
    text = f"name: a\nstages:\n- name: x\n  image: y\n  requires:\n    {key}: {value}\n"
    line, column, path, message = one(text)
    assert (line, column, path) == (6, len(key) + 7, f"stages[0].requires.{key}")
    assert any(part in message for part in says.split("|")), message
    assert "(found: " in message


def test_wrong_duration_suggests_the_unit() -> None:
    found = one("name: a\nstages:\n- {name: x, image: y, lost_after: 5 minutes}\n")
    assert found[:3] == (3, 35, "stages[0].lost_after")
    assert "did you mean 5m?" in found[3]


def test_duplicate_stage() -> None:
    text = "name: a\nstages:\n- {name: x, image: y}\n- {name: x, image: y}\n"
    assert one(text) == (4, 10, "stages[1].name", "two stages are called 'x' (the first in line 3)")


def test_duplicate_key() -> None:
    text = "name: a\nname: b\nstages: [{name: x, image: y}]\n"
    assert one(text) == (2, 1, "name", "the key 'name' stands here twice (first in line 1)")


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("name: [a\n", 2, 1, "expected ',' or ']'"),
        ("name: a\n\tstages: x\n", 2, 1, "a tab cannot indent"),
        ("name: a\nstages:\n  - name: x\n   image: y\n", 4, 4, "not YAML"),
        ("name: 'a\n", 2, 1, "not YAML"),
        ("name: *nothing\n", 1, 7, "undefined alias"),
        ("name: a\x07\n", 1, 8, "U+0007"),
        ("name: a\n---\nname: b\n", 3, 1, "one file holds one definition"),
        ("", 1, 1, "empty"),
        ("# only a comment\n", 1, 1, "empty"),
        ("- a\n- b\n", 1, 1, "a definition is a mapping"),
        ("just words\n", 1, 1, "a definition is a mapping"),
        ("[" * 5000, 1, 1, "nested too deeply"),
    ],
)
def test_yaml_that_cannot_be_read(text: str, line: int, column: int, says: str) -> None:
    found = one(text)
    assert found[:2] == (line, column)
    assert says in found[3]


def test_wrong_types_and_several_problems_at_once() -> None:
    text = dedent(
        """\
        name: A B
        descripton: c
        stages:
          - name: x
            image: [1]
            command: run
            env: {1A: 2, WINSLOW_X: 3, OK: }
            inputs: [ulm.mp4, "res:../etc/passwd"]
            retry: {max: many, on: [node_los]}
            requires: 5
        """
    )
    found = problems(text)
    assert [(line, key) for line, _, key, _ in found] == [
        (1, "name"),
        (2, "descripton"),
        (5, "stages[0].image"),
        (6, "stages[0].command"),
        (7, "stages[0].env.1A"),
        (7, "stages[0].env.WINSLOW_X"),
        (7, "stages[0].env.OK"),
        (8, "stages[0].inputs[0]"),
        (8, "stages[0].inputs[1]"),
        (9, "stages[0].retry.max"),
        (9, "stages[0].retry.on[0]"),
        (10, "stages[0].requires"),
    ]
    messages = "\n".join(message for *_, message in found)
    assert "did you mean 'description'?" in messages
    assert "did you mean 'node_lost'?" in messages
    assert "a list is expected here" in messages


def test_no_tag_of_a_file_makes_an_object() -> None:
    found = one("name: !!python/object/apply:os.system ['true']\nstages: [{name: x, image: y}]\n")
    assert found[:3] == (1, 7, "name")
    assert "python/object/apply:os.system is not allowed" in found[3]


def test_what_no_environment_can_hold_is_refused() -> None:
    template = 'name: a\nenv: {{A: "{}"}}\nstages: [{{name: x, image: y}}]\n'
    for escape in (r"\0", r"\ud800"):
        assert one(template.format(escape))[:3] == (2, 10, "env.A")
    assert parse(template.format(r"\ud83d\ude97"), source="p.yaml").env == {"A": "\N{AUTOMOBILE}"}


def test_keys_are_text() -> None:
    assert "a key is plain text" in problems("? [a]\n: b\n")[-1][3]


def test_what_aliases_expand_to_is_counted() -> None:
    row = ", ".join
    text = "a: &a [" + row("x" * 1 for _ in range(10)) + "]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{name}: &{name} [" + row([f"*{previous}"] * 10) + "]\n"
    assert "aliases count each time" in one(text)[3]
    assert "aliases count each time" in one("name: &a [*a]\n")[3]


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    assert "longer than" in one("#" * (MAX_BYTES + 1))[3]


@pytest.mark.parametrize(
    ("stage", "key", "says"),
    [
        ("timeout: 3", "timeout", "not a duration: write a number with s, m, h or d"),
        ("timeout: 0s", "timeout", "must be more than 0s"),
        ("timeout: never", "timeout", "not a duration"),
        ("stall_timeout: 5 minutes", "stall_timeout", "did you mean 5m?"),
        ("stop_grace: 2d", "stop_grace", "must be at most 1d"),
        ("lost_after: 0s", "lost_after", "must be more than 0s"),
        ("lost_after: nver", "lost_after", "not a duration"),
        (f"lost_after: {'9' * 400}s", "lost_after", "not a duration"),
        (f"lost_after: {'9' * 300}d", "lost_after", "at most 10000d"),
        ("fail_on: error", "fail_on", "a list is expected here"),
        ("fail_on: [a, '(b']", "fail_on[1]", "not a regular expression: missing ), unterminated subpattern"),
        ("fail_on: ['(a)?']", "fail_on[0]", "matches an empty line"),
        (f"fail_on: ['{'x' * 1001}']", "fail_on[0]", "at most 1000 characters"),
        ("progress: '(a)(b)'", "progress", "a progress pattern has one group"),
        ("progress: 'a ('", "progress", "not a regular expression"),
        ("ok_exit_codes: 3", "ok_exit_codes", "a list is expected here"),
        ("ok_exit_codes: []", "ok_exit_codes", "at least one item is expected here"),
        ("ok_exit_codes: [0, 300]", "ok_exit_codes[1]", "less than or equal to 255"),
        ("confirmation: allways", "confirmation", "did you mean 'always'?"),
        ("network: hots", "network", "did you mean 'host'?"),
        ("workspace: inherti", "workspace", "did you mean 'inherit'?"),
        ("discardable: maybe", "discardable", "true or false is expected here"),
        ("require_env: [OK, 1A]", "require_env[1]", "not a name for an environment variable"),
        ("env: {TOKEN: 'secret:hf token'}", "env.TOKEN", "write secret:NAME"),
        ("require_env: [WINSLOW_X]", "require_env[0]", "set by Winslow itself"),
        ("requires: {gpus: {vendor: amd}}", "requires.gpus.vendor", "'nvidia' is expected here"),
        ("requires: {gpus: {memory: 24}}", "requires.gpus.memory", "write a number with KiB"),
        ("requires: {gpus: {count: 0}}", "requires.gpus.count", "greater than or equal to 1"),
        ("requires: {gpus: 2}", "requires.gpus", "a table is expected here"),
        (f"requires: {{memory: {'9' * 400}GB}}", "requires.memory", "not a size"),
        (f"requires: {{memory: {'9' * 30}GB}}", "requires.memory", "no machine of this size"),
        ("inputs: ['#detect']", "inputs[0]", "or #STAGE:PATH"),
        ("inputs: ['#detekt:a']", "inputs[0]", "there is no stage 'detekt'; did you mean 'detect'?"),
        ("inputs: ['#zzz:a']", "inputs[0]", "there is no stage 'zzz'; earlier ones: detect"),
        ("inputs: ['#track:a']", "inputs[0]", "a stage cannot take inputs from itself"),
        ("inputs: ['res:a', '#stats:a']", "inputs[1]", "stage 'stats' comes after this one"),
    ],
)
def test_what_is_wrong_with_a_field_of_a_stage(stage: str, key: str, says: str) -> None:
    first, last = "{name: detect, image: i}", "{name: stats, image: i}"
    text = f"name: a\nstages:\n- {first}\n- {{name: track, image: i, {stage}}}\n- {last}\n"
    line, column, path, message = one(text)
    assert (line, path) == (4, f"stages[1].{key}")
    assert column > 28
    assert says in message


@pytest.mark.parametrize(
    ("fields", "key", "nearest"),
    [
        ("confirmation: allways", "confirmation", "always"),
        ("retention: {keep_lst: 3}", "retention.keep_lst", "keep_last"),
        ("retention: {keep_last: 0}", "retention.keep_last", ""),
        ("require_evn: [A]", "require_evn", "require_env"),
    ],
)
def test_what_is_wrong_with_a_field_of_a_pipeline(fields: str, key: str, nearest: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse(f"name: a\n{fields}\nstages: [{{name: x, image: y}}]\n", source="p.yaml")
    (problem,) = caught.value.problems
    assert (problem.position.line, problem.key, problem.nearest) == (2, key, nearest)


def test_the_first_stage_has_no_earlier_one() -> None:
    found = one("name: a\nstages:\n- {name: x, image: y, inputs: ['#w:a']}\n")
    assert found[2:] == (
        "stages[0].inputs[0]",
        "there is no stage 'w'; earlier ones: none, this is the first",
    )


def test_inputs_of_earlier_stages_are_fine() -> None:
    text = (
        "name: a\nstages:\n- {name: x, image: y}\n- {name: z, image: y, inputs: ['#x:speeds.csv', '#x:']}\n"
    )
    assert parse(text, source="p.yaml").stages[1].inputs == ("#x:speeds.csv", "#x:")


def test_a_stored_definition_keeps_the_rules_between_its_stages() -> None:
    stages = [{"name": "x", "image": "y"}, {"name": "z", "image": "y", "inputs": ["#w:a"]}]
    with pytest.raises(ValidationError, match=r"stages\[1\].inputs\[0\]: there is no stage 'w'"):
        PipelineDefinition.model_validate({"name": "a", "stages": stages})


def test_the_schema_names_every_key_and_takes_what_parse_takes() -> None:
    schema = json.loads(json.dumps(json_schema()))
    stage = schema["$defs"]["StageDefinition"]
    assert schema["required"] == ["name", "stages"]
    assert stage["additionalProperties"] is False
    assert {"image", "command", "env", "requires", "retry", "lost_after", "inputs"} <= set(
        stage["properties"]
    )
    kinds = {kind["type"] for kind in schema["$defs"]["Requirements"]["properties"]["memory"]["anyOf"]}
    assert kinds == {"integer", "string"}


def test_the_schema_says_what_every_field_is() -> None:
    schema = json_schema()
    models = {"PipelineDefinition": schema} | schema["$defs"]
    fields = {
        f"{model}.{field}": told
        for model, each in models.items()
        for field, told in each.get("properties", {}).items()
    }
    assert len(fields) >= 45
    for field, told in fields.items():
        assert told.get("description", "").endswith("."), field


def test_an_invalid_definition_is_invalid_input() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse("name: a\n", source="p.yaml")
    assert "winslow pipeline schema" in caught.value.hint
