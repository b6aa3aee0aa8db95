"""Pipeline and stage definitions: what a team writes in a file (requirements R1110 to R1130)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {
    "": 1, "B": 1, "K": 10**3, "KB": 10**3, "KI": 2**10, "KIB": 2**10, "M": 10**6, "MB": 10**6, "MI": 2**20,
    "MIB": 2**20, "G": 10**9, "GB": 10**9, "GI": 2**30, "GIB": 2**30, "T": 10**12, "TB": 10**12, "TI": 2**40,
    "TIB": 2**40,
}  # fmt: skip
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: object) -> int:
    """Bytes from `8GiB`, `500 MB` or a plain number of bytes. Raises ValueError naming the units."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size: write a number with KiB, MiB, GiB or TiB (or KB, MB, GB, TB), for example 8GiB")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def parse_duration(value: object) -> float:
    """Seconds from `90s`, `15m`, `2h` or `3d`. Raises ValueError naming the units."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise ValueError("not a duration: write a number with s, m, h or d, for example 15m")
    return float(match[1]) * _SECONDS[match[2]]


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a name is 1 to 63 small letters, digits, '.', '_' or '-', and begins and ends with a letter or digit")
    return value


def _env(value: dict[str, str]) -> dict[str, str]:
    for key in value:
        if not ENV_NAME.fullmatch(key):
            raise ValueError(f"'{key}' is not a name for an environment variable (letters, digits, '_')")
        if key.startswith("WINSLOW_"):
            raise ValueError(f"'{key}': names that begin with WINSLOW_ are set by Winslow itself")
    return value


def _scalar_text(value: Any) -> Any:
    """YAML writes `CONF: 0.35`; an environment holds text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Name = Annotated[str, AfterValidator(_name)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
EnvText = Annotated[str, BeforeValidator(_scalar_text)]
Env = Annotated[dict[str, EnvText], AfterValidator(_env)]


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


class StageDefinition(_Definition):
    """A preset for one step: image, command, environment, hardware."""

    name: Name
    description: str = ""
    image: str = Field(min_length=1)
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    workdir: str = ""
    env: Env = {}
    inputs: tuple[str, ...] = ()  # res: addresses that are placed under /resources though no variable names them
    requires: Requirements = Requirements()
    retry: Retry = Retry()
    lost_after: Duration | Literal["never"] | None = None  # seconds of observed silence; None: max(15 min, 5 % of run time)
    comment: str = ""


class PipelineDefinition(_Definition):
    """A named, ordered list of stages with common environment; at least one stage, names unique."""

    name: Name
    description: str = ""
    env: Env = {}
    stages: tuple[StageDefinition, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> PipelineDefinition:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"two stages are called '{stage.name}'; a stage's name is unique in its pipeline")
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
