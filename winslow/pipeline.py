"""Pipeline and stage definitions: what a team writes in a file (requirements R1110 to R1130).

The models say what is valid; `parse` (in `definition_text`, shown here as well) reads the YAML and says
where something is not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from winslow.quantities import Duration, Grace, LostAfter, Size
from winslow.validation import BrokenRules, Fault

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(rf"secret:({ENV_NAME.pattern})")
MAX_PATTERN = 1000
STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL where a stage says nothing, as `docker stop` gives."""


def _input(value: str) -> str:
    _, of_stage, path = value.partition(":")
    stage = value.removesuffix(f":{path}")
    known = stage == "res" or (stage.startswith("#") and NAME.fullmatch(stage[1:]))
    if not of_stage or not known or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(
            "not an input: write res:FOLDER/FILE for a resource, for example res:traffic/ulm.mp4, or #STAGE:PATH for"
            " what the latest succeeded run of an earlier stage left in its workspace"
        )
    if stage == "res" and not path:
        raise ValueError("not an input: name a file or a folder of the resources, for example res:traffic/")
    return value


def _compiled(value: str) -> re.Pattern[bytes]:
    if len(value) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    try:
        return re.compile(value.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


def _failure(value: str) -> str:
    if _compiled(value).search(b""):
        raise ValueError("this pattern matches an empty line, so every run would fail")
    return value


def _progress(value: str) -> str:
    if value and _compiled(value).groups != 1:
        raise ValueError(
            "a progress pattern has one group, which is the percentage: for example 'epoch (\\d+)%'"
        )
    return value


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 63 small letters, digits, '.', '_' or '-', with a letter or digit at both ends"
        )
    return value


def _env_name(value: str) -> str:
    if not ENV_NAME.fullmatch(value):
        raise ValueError(f"'{value}' is not a name for an environment variable (letters, digits, '_')")
    if value.startswith("WINSLOW_"):
        raise ValueError(f"'{value}': names that begin with WINSLOW_ are set by Winslow itself")
    return value


def _scalar_text(value: Any) -> Any:
    """YAML writes `CONF: 0.35`; an environment holds text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _secret(value: str) -> str:
    if value.startswith("secret:") and not SECRET.fullmatch(value):
        raise ValueError(
            "not a secret: write secret:NAME (letters, digits, '_'), the name of a value that only nodes have"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
EnvText = Annotated[
    str,
    BeforeValidator(_scalar_text, json_schema_input_type=str | int | float | bool),
    AfterValidator(_secret),
]
EnvName = Annotated[str, AfterValidator(_env_name)]
Env = dict[EnvName, EnvText]
Address = Annotated[str, AfterValidator(_input)]
Pattern = Annotated[str, AfterValidator(_failure)]


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GpuRequirement(_Definition):
    """GPUs a stage needs, all of one vendor."""

    count: int = Field(default=1, ge=1, le=64, description="How many.")
    vendor: Literal["nvidia"] = Field(default="nvidia", description="Who made them.")
    memory: Size = Field(default=0, description="Memory that each one has at least, for example 24GiB.")
    name: str = Field(
        default="", description='A part of the model\'s name, for example "A5000"; case does not count.'
    )


class Requirements(_Definition):
    """What a stage takes from its node. Memory and CPUs are limits, too."""

    cpus: float = Field(default=1.0, gt=0, le=4096, description="Cores; parts of one are fine.")
    memory: Size = Field(default=1 << 30, description="Memory; a stage that uses more is killed.")
    gpus: GpuRequirement | None = Field(default=None, description="GPUs, for this stage alone.")
    shm: Size = Field(default=64 << 20, description="Size of /dev/shm.")
    disk: Size = Field(default=0, description="Free disk space that the node has at least.")
    tags: tuple[str, ...] = Field(default=(), description="Labels that the node has, every one of them.")


class RetryOn(StrEnum):
    """Reasons after which a run may be queued again without asking."""

    NODE_LOST = "node_lost"
    IMAGE_UNAVAILABLE = "image_unavailable"
    STORAGE = "storage"


class Retry(_Definition):
    """How often, and after which reasons, a run goes back to the queue by itself."""

    max: int = Field(default=1, ge=0, le=100, description="How often at most.")
    on: tuple[RetryOn, ...] = Field(default=(RetryOn.NODE_LOST,), description="After which reasons.")


class Confirmation(StrEnum):
    """Whether a stage that would start by itself asks a person first."""

    NEVER = "never"
    ONCE = "once"  # until it was confirmed once in the project
    ALWAYS = "always"


class Retention(_Definition):
    """Which runs keep their files; records, results and logs of the others stay. Never touched: the latest run
    of each stage, pinned runs, and what a queued or active run refers to."""

    keep_last: int | None = Field(
        default=None, ge=1, le=10**6, description="How many succeeded runs of each stage; without it all."
    )
    keep_failed: bool = Field(
        default=True, description="Keep the workspaces of failed runs, to look what went wrong."
    )


class StageDefinition(_Definition):
    """One step: image, command, environment, hardware, and what counts as a good end."""

    name: Name = Field(
        description="What people call it: small letters, digits, '.', '_', '-'; once in a pipeline."
    )
    description: str = Field(default="", description="What it does, for people.")
    image: str = Field(min_length=1, max_length=1024, description="The container image.")
    command: tuple[str, ...] = Field(
        default=(), description="Program and arguments; without it the image's own."
    )
    entrypoint: tuple[str, ...] | None = Field(
        default=None, description="In place of the image's entry point; [] for none."
    )
    user: str = Field(default="", description="The user in the container, where the node allows it.")
    workdir: str = Field(default="", description="Where the command starts; without it the workspace.")
    env: Env = Field(
        default={},
        description="Environment; an address (res:FILE, PROJECT#RUN:FILE) is fetched and becomes its path; "
        "secret:NAME becomes the path of a file with a value that only nodes have.",
    )
    inputs: tuple[Address, ...] = Field(
        default=(),
        description="Files that are fetched though no variable names them: res:PATH lies at /resources/PATH, "
        "#STAGE:PATH, from the latest succeeded run of an earlier stage, at /resources/@stages/STAGE/PATH.",
    )
    requires: Requirements = Field(default=Requirements(), description="What it takes from its node.")
    require_env: tuple[EnvName, ...] = Field(
        default=(),
        description="Variables that must have a value; the project asks for them before the stage.",
    )
    confirmation: Confirmation | None = Field(
        default=None,
        description="Whether a person confirms before it starts by itself: never, once in a project, or always; "
        "without it as the pipeline says.",
    )
    timeout: Duration = Field(
        default=None, description="Running time after which it is stopped and has failed."
    )
    stall_timeout: Duration = Field(
        default=None, description="Time without any output after which it is stopped and has failed."
    )
    stop_grace: Grace = Field(
        default=STOP_GRACE, description="Time between SIGTERM and SIGKILL, for all its processes."
    )
    retry: Retry = Field(default=Retry(), description="When a run is tried again without asking.")
    lost_after: LostAfter = Field(
        default=None,
        description="Silence of its node after which the run is taken for lost, or never; without it 15m or 5 % of "
        "its running time, whichever is longer.",
    )
    ok_exit_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        default=(0,), min_length=1, description="Exit codes that count as success."
    )
    fail_on: tuple[Pattern, ...] = Field(
        default=(),
        description="Regular expressions; a line of output that one is found in makes the run fail, whatever its code.",
    )
    progress: Annotated[str, AfterValidator(_progress)] = Field(
        default="",
        description="A regular expression with one group, the percentage; without it any `NN %` in a line counts.",
    )
    network: Literal["default", "none", "host"] = Field(
        default="default", description="The container's network; host only where the node allows it."
    )
    workspace: Literal["inherit", "empty"] = Field(
        default="inherit",
        description="Take over the workspace of the stage before, or begin with an empty one.",
    )
    discardable: bool = Field(
        default=False, description="Its workspace may be pruned once a later stage has succeeded."
    )
    comment: str = Field(default="", description="Anything else worth knowing, for people.")


class PipelineDefinition(_Definition):
    """A named, ordered list of stages with common environment."""

    name: Name = Field(description="What people call it: small letters, digits, '.', '_', '-'.")
    description: str = Field(default="", description="What it is for, for people.")
    env: Env = Field(default={}, description="Environment of every stage; a stage's own stands over it.")
    require_env: tuple[EnvName, ...] = Field(
        default=(), description="Variables that must have a value before any stage."
    )
    confirmation: Confirmation = Field(
        default=Confirmation.NEVER, description="Whether a person confirms a stage that says nothing itself."
    )
    retention: Retention = Field(default=Retention(), description="Which runs keep their files.")
    stages: tuple[StageDefinition, ...] = Field(
        min_length=1, description="The stages in their order, at least one."
    )

    @model_validator(mode="after")
    def _rules(self) -> PipelineDefinition:
        faults = [*_twice(self.stages), *_not_earlier(self.stages)]
        if faults:
            raise BrokenRules(faults)
        return self

    def stage(self, name: str) -> StageDefinition | None:
        """The stage of that name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def after(self, name: str) -> StageDefinition | None:
        """The stage that follows the named one; None after the last or for an unknown name."""
        names = [stage.name for stage in self.stages]
        position = names.index(name) + 1 if name in names else len(names)
        return self.stages[position] if position < len(names) else None


def _stage_of(address: str) -> str | None:
    """The stage that an input is taken from (`#STAGE:PATH`); None for a resource."""
    return address[1:].partition(":")[0] if address.startswith("#") else None


def _twice(stages: tuple[StageDefinition, ...]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        if stage.name in seen:
            message = f"two stages are called '{stage.name}'; a stage's name is unique in its pipeline"
            yield Fault(("stages", index, "name"), message)
        seen.add(stage.name)


def _not_earlier(stages: tuple[StageDefinition, ...]) -> Iterator[Fault]:
    """Inputs from a stage that is not there before the one that wants them."""
    names = [stage.name for stage in stages]
    for index, stage in enumerate(stages):
        for place, address in enumerate(stage.inputs):
            wanted, earlier = _stage_of(address), names[:index]
            if wanted is None or wanted in earlier:
                continue
            close = difflib.get_close_matches(wanted, earlier, n=1, cutoff=0.5)
            if wanted == stage.name:
                what = "a stage cannot take inputs from itself"
            elif wanted in names:
                what = f"stage '{wanted}' comes after this one"
            else:
                what = f"there is no stage '{wanted}'"
            if close:
                what += f"; did you mean '{close[0]}'?"
            else:
                what += "; earlier ones: " + (", ".join(earlier) or "none, this is the first")
            yield Fault(("stages", index, "inputs", place), what, close[0] if close else "")


def parse(text: str, *, source: str) -> PipelineDefinition:
    """Read a definition from YAML text; `source` (a file's name) stands in the messages.

    Raises `definition_text.InvalidDefinition`, which lists every problem with line, column and key.
    """
    from winslow.definition_text import read

    return read(text, source=source)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a definition file (draft 2020-12), for editors that check while one types."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PipelineDefinition.model_json_schema(mode="validation"),
    }
