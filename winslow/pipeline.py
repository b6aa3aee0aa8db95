"""Pipeline and stage definitions: what a team writes in a file (requirements R1110 to R1130).

The models say what is valid; `parse` (in `definition_text`, shown here as well) reads the YAML and says
where something is not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {
    "": 1, "B": 1, "K": 10**3, "KB": 10**3, "KI": 2**10, "KIB": 2**10, "M": 10**6, "MB": 10**6, "MI": 2**20,
    "MIB": 2**20, "G": 10**9, "GB": 10**9, "GI": 2**30, "GIB": 2**30, "T": 10**12, "TB": 10**12, "TI": 2**40,
    "TIB": 2**40,
}  # fmt: skip
MAX_PATTERN = 1000
STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL where a stage says nothing, as `docker stop` gives."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: object) -> int:
    """Bytes from `8GiB` or `500 MB`; an int is bytes already. Raises ValueError naming the units.

    A text without a unit is refused (but for 0): `memory: 16` in a file means gigabytes to its writer.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = value.strip() if isinstance(value, str) else ""
    match = _SIZE.fullmatch(text)
    if match is None or (not match[2] and float(match[1])):
        raise ValueError(
            "not a size: write a number with KiB, MiB, GiB or TiB (or KB, MB, GB, TB), for example 8GiB"
            + _nearest_unit(text, ("B", "KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"))
        )
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def parse_duration(value: object) -> float:
    """Seconds from `90s`, `15m`, `2h` or `3d`; a number is seconds already. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            "not a duration: write a number with s, m, h or d, for example 15m"
            + _nearest_unit(text, tuple(_SECONDS), {"sec": "s", "min": "m", "hour": "h", "day": "d"})
        )
    return float(match[1]) * _SECONDS[match[2]]


def _nearest_unit(text: str, units: tuple[str, ...], words: Mapping[str, str] = MappingProxyType({})) -> str:
    """A suggestion to append, when `text` is a number with a wrong unit; else nothing."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
    if match is None:
        return ""
    number, given = match.groups()
    for word, unit in words.items():
        if given.lower().startswith(word):
            return f"; did you mean {number}{unit}?"
    folded = {unit.lower(): unit for unit in units}
    close = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.5)
    return f"; did you mean {number}{folded[close[0]]}?" if close else ""


def _lost_after(value: object) -> object:
    return value if value is None or value == "never" else parse_duration(value)


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


def _pattern(value: str) -> str:
    if len(value) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    try:
        compiled = re.compile(value.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if compiled.match(b"") and not compiled.groups:
        raise ValueError("this pattern matches every line")
    return value


def _progress(value: str) -> str:
    if value and re.compile(_pattern(value).encode()).groups != 1:
        raise ValueError(
            "a progress pattern has one group, which is the percentage: for example 'epoch (\\d+)%'"
        )
    return value


def _duration(value: object) -> object:
    return value if value is None else parse_duration(value)


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


Name = Annotated[str, AfterValidator(_name)]
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str)]
EnvText = Annotated[str, BeforeValidator(_scalar_text, json_schema_input_type=str | int | float | bool)]
EnvName = Annotated[str, AfterValidator(_env_name)]
Env = dict[EnvName, EnvText]
Address = Annotated[str, AfterValidator(_input)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Duration = Annotated[
    Annotated[float, Field(gt=0, le=10**9)] | None,
    BeforeValidator(_duration, json_schema_input_type=str | float | None),
]
Grace = Annotated[
    float, Field(ge=0, le=86400), BeforeValidator(_duration, json_schema_input_type=str | float)
]
LostAfter = Annotated[
    Annotated[float, Field(gt=0)] | Literal["never"] | None,
    BeforeValidator(_lost_after, json_schema_input_type=str | float | None),
]


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GpuRequirement(_Definition):
    """GPUs a stage needs, each at least `memory` bytes, all of one vendor."""

    count: int = Field(default=1, ge=1, le=64)
    vendor: Literal["nvidia"] = "nvidia"
    memory: Size = 0
    name: str = ""  # a part of the model's name, for example "A5000"; case does not count


class Requirements(_Definition):
    """What one stage takes from a node. `memory`, `shm` and `disk` in bytes, `cpus` in cores."""

    cpus: float = Field(default=1.0, gt=0, le=4096)
    memory: Size = 1 << 30
    gpus: GpuRequirement | None = None
    shm: Size = 64 << 20
    disk: Size = 0
    tags: tuple[str, ...] = ()


class RetryOn(StrEnum):
    """Reasons after which a run may be queued again without asking."""

    NODE_LOST = "node_lost"
    IMAGE_UNAVAILABLE = "image_unavailable"
    STORAGE = "storage"


class Retry(_Definition):
    """How often, and after which reasons, a run goes back to the queue by itself."""

    max: int = Field(default=1, ge=0, le=100)
    on: tuple[RetryOn, ...] = (RetryOn.NODE_LOST,)


class Confirmation(StrEnum):
    """Whether a stage that would start by itself asks a person first."""

    NEVER = "never"
    ONCE = "once"  # until it was confirmed once in the project
    ALWAYS = "always"


class Retention(_Definition):
    """Which runs keep their files; records, results and logs of the others stay. Never touched: the latest run
    of each stage, pinned runs, and what a queued or active run refers to."""

    keep_last: int | None = Field(default=None, ge=1, le=10**6)  # succeeded runs per stage; None: all
    keep_failed: bool = True  # the workspaces of failed runs, to look what went wrong


class StageDefinition(_Definition):
    """A preset for one step: image, command, environment, hardware, and what counts as a good end."""

    name: Name
    description: str = ""
    image: str = Field(min_length=1, max_length=1024)
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    workdir: str = ""
    env: Env = {}
    # Placed under /resources though no variable names them; #STAGE:PATH under /resources/@stages/STAGE/PATH.
    inputs: tuple[Address, ...] = ()
    requires: Requirements = Requirements()
    require_env: tuple[EnvName, ...] = ()  # must have a value, else the project asks for it before the stage
    confirmation: Confirmation | None = None  # None: as the pipeline says
    timeout: Duration = None  # seconds of running time, then it is stopped: reason timeout
    stall_timeout: Duration = None  # seconds without a byte of output, then it is stopped: reason stalled
    stop_grace: Grace = STOP_GRACE  # seconds from SIGTERM to SIGKILL, to all its processes
    retry: Retry = Retry()
    lost_after: LostAfter = None  # seconds of observed silence; None: max(15 min, 5 % of the running time)
    ok_exit_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(default=(0,), min_length=1)
    fail_on: tuple[
        Pattern, ...
    ] = ()  # a line of output that matches one makes the run fail, whatever its code
    progress: Annotated[str, AfterValidator(_progress)] = ""  # its group is the percentage; empty: any `NN %`
    network: Literal["default", "none", "host"] = "default"  # host only where the node allows it
    workspace: Literal["inherit", "empty"] = "inherit"
    discardable: bool = False  # its workspace may be pruned once a later stage has succeeded
    comment: str = ""


class PipelineDefinition(_Definition):
    """A named, ordered list of stages with common environment; at least one stage, names unique."""

    name: Name
    description: str = ""
    env: Env = {}
    require_env: tuple[EnvName, ...] = ()  # of every stage
    confirmation: Confirmation = Confirmation.NEVER  # of every stage that says nothing itself
    retention: Retention = Retention()
    stages: tuple[StageDefinition, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> PipelineDefinition:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(
                    f"two stages are called '{stage.name}'; a stage's name is unique in its pipeline"
                )
            seen.add(stage.name)
        return self

    def stage(self, name: str) -> StageDefinition | None:
        """The stage of that name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def after(self, name: str) -> StageDefinition | None:
        """The stage that follows the named one; None after the last or for an unknown name."""
        names = [stage.name for stage in self.stages]
        position = names.index(name) + 1 if name in names else len(names)
        return self.stages[position] if position < len(names) else None


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
