from __future__ import annotations

import pytest

from winslow.address import Address, looks_like, of_stage, parse, secret_name, text
from winslow.errors import InvalidInput


def test_reads_every_form() -> None:
    assert parse("res:traffic/ulm.mp4") == Address(place="resources", path="traffic/ulm.mp4")
    assert parse("ulm-7k2f:input/a b.mp4") == Address(place="input", project="ulm-7k2f", path="a b.mp4")
    assert parse("ulm:output/") == Address(place="output", project="ulm", path="", folder=True)
    assert parse("ulm#3:x/y") == Address(place="workspace", project="ulm", run=3, path="x/y")
    assert parse("ulm#next:x/") == Address(place="next", project="ulm", path="x", folder=True)
    assert parse("ulm#3:") == Address(place="workspace", project="ulm", run=3, path="", folder=True)


@pytest.mark.parametrize(
    "written",
    ["", "plain", "res:../x", "res:/etc/passwd", "res:a//b", "ulm:elsewhere/x", "res#1:x", "u:input/\0"],
)
def test_a_bad_address_says_what_is_wrong(written: str) -> None:
    with pytest.raises(InvalidInput):
        parse(written)


@pytest.mark.parametrize("value", ["res:a", "ulm#3:x", "ulm:input/x", "ulm-1:output/a/b"])
def test_values_that_name_a_file(value: str) -> None:
    assert looks_like(value)


@pytest.mark.parametrize(
    "value",
    [
        "secret:TOKEN",
        "secret:input/x",
        "secret#1:x",
        "http://host/x",
        "12:30",
        "C:\\x",
        "a:b",
        "ulm#next:x",
        "res:",
        "0.35",
        "user:input",
    ],
)
def test_ordinary_values_are_left_alone(value: str) -> None:
    assert not looks_like(value)


@pytest.mark.parametrize(
    "written",
    [
        "res:a/b",
        "res:a/",
        "ulm#3:x",
        "ulm#3:",
        "ulm#0:x",
        "ulm#next:a/",
        "ulm#next:",
        "ulm:output/",
        "ulm:input/x/",
    ],
)
def test_written_again_it_is_the_same(written: str) -> None:
    assert text(parse(written)) == written


@pytest.mark.parametrize(
    ("value", "name"),
    [("secret:TOKEN", "TOKEN"), ("secret:_a1", "_a1"), ("secret:", None), ("secret:a b", None), ("secret:1", None),
     ("xsecret:A", None), ("secret:A\n", None)],
)  # fmt: skip
def test_secrets_are_names(value: str, name: str | None) -> None:
    assert secret_name(value) == name


def test_inputs_of_an_earlier_stage() -> None:
    assert of_stage("#train:a/b:c") == ("train", "a/b:c")
    assert of_stage("#train:") == ("train", "")
    assert of_stage("res:a") is None
