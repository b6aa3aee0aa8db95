"""Any valid definition, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from winslow.pipeline import (
    Confirmation,
    GpuRequirement,
    PipelineDefinition,
    Requirements,
    Retention,
    Retry,
    RetryOn,
    StageDefinition,
)
from winslow.quantities import MAX_SECONDS, MAX_SIZE

TRICKY = [
    "null",
    "~",
    "",
    "true",
    "0.350",
    "1:30",
    "=",
    "<<",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "'",
    '"',
    "---",
    "...",
]
TRICKY += [
    "|",
    "a\nb",
    "a\n\nb\n",
    " a\nb",
    "a \nb",
    "\ta",
    "a\n\tb",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\U0001f697",
]
TEXTS = st.sampled_from(TRICKY) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,5}[a-z0-9])?", fullmatch=True) | st.just("null")
ENV_NAMES = st.from_regex(r"[A-V_a-z][A-Za-z0-9_]{0,6}", fullmatch=True) | st.just("NULL")
VALUES = TEXTS.filter(lambda text: not text.startswith("secret:"))  # which would have to be a name
ENVS = st.dictionaries(ENV_NAMES, VALUES, max_size=4)
SIZES = st.integers(min_value=0, max_value=MAX_SIZE) | st.sampled_from([1 << 30, 24 << 30, 5 * 10**8])
SECONDS = st.floats(min_value=0, max_value=MAX_SECONDS, exclude_min=True) | st.sampled_from([90.0, 7200.0])
PATTERNS = st.sampled_from(["error", "Traceback \\(", "^fatal:", "a{2}\\\\", "ü+"])


def tuples(items: st.SearchStrategy[Any], *, least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, min_size=least, max_size=3).map(tuple)


def sparse(model: type[Any], required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Models with any of the optional fields set."""
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: model(**fields))


GPUS = sparse(GpuRequirement, {}, {"count": st.integers(1, 64), "memory": SIZES, "name": TEXTS})
REQUIREMENTS = sparse(
    Requirements,
    {},
    {
        "cpus": st.floats(min_value=0, max_value=4096, exclude_min=True) | st.integers(1, 64).map(float),
        "memory": SIZES,
        "gpus": GPUS,
        "shm": SIZES,
        "disk": SIZES,
        "tags": tuples(TEXTS),
    },
)
STAGE_FIELDS: dict[str, Any] = {
    "description": TEXTS,
    "command": tuples(TEXTS),
    "entrypoint": tuples(TEXTS),
    "user": TEXTS,
    "workdir": TEXTS,
    "env": ENVS,
    "inputs": tuples(st.sampled_from(["res:a b/ü.mp4", "res:{x}: #1"])),
    "requires": REQUIREMENTS,
    "require_env": tuples(ENV_NAMES),
    "confirmation": st.sampled_from(Confirmation),
    "timeout": SECONDS,
    "stall_timeout": SECONDS,
    "stop_grace": st.floats(min_value=0, max_value=86400),
    "retry": sparse(Retry, {}, {"max": st.integers(0, 100), "on": tuples(st.sampled_from(RetryOn))}),
    "lost_after": SECONDS | st.just("never"),
    "ok_exit_codes": tuples(st.integers(0, 255), least=1),
    "fail_on": tuples(PATTERNS),
    "progress": st.sampled_from(["", r"epoch (\d+)%"]),
    "network": st.sampled_from(["default", "none", "host"]),
    "workspace": st.sampled_from(["inherit", "empty"]),
    "discardable": st.booleans(),
    "comment": TEXTS,
}
STAGES = sparse(StageDefinition, {"name": NAMES, "image": TEXTS.filter(bool)}, STAGE_FIELDS)
DEFINITIONS = sparse(
    PipelineDefinition,
    {
        "name": NAMES,
        "stages": st.lists(STAGES, min_size=1, max_size=4, unique_by=lambda stage: stage.name).map(tuple),
    },
    {
        "description": TEXTS,
        "env": ENVS,
        "require_env": tuples(ENV_NAMES),
        "confirmation": st.sampled_from(Confirmation),
        "retention": sparse(
            Retention, {}, {"keep_last": st.integers(1, 10**6), "keep_failed": st.booleans()}
        ),
    },
)
