"""Times of a log as a person reads and types them: those of their place."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from winslow.errors import UsageError

_CLOCK = re.compile(r"(?:(\d{4}-\d\d-\d\d)[ T])?(\d{1,2}):(\d\d)(?::(\d\d))?")
_STEP = re.compile(r"([+-])(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@lru_cache(maxsize=4096)
def local_time(text: str) -> str:
    """`2026-11-25 13:04:09` of an RFC 3339 time in UTC without fraction, in the time of the person's place."""
    try:
        then = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return text
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str, *, now: str) -> str:
    """The RFC 3339 time (UTC, nine digits) that a person means: a time of the day, with or without a date, in the
    time of their place, or so much before or behind `now`, an RFC 3339 time. Raises UsageError."""
    then = datetime.fromisoformat(now[:19]).replace(tzinfo=UTC) if now else datetime.now(UTC)
    text = text.strip()
    if step := _STEP.fullmatch(text):
        by = timedelta(**{_UNITS[step[3]]: int(step[2])})
        meant = then - by if step[1] == "-" else then + by
    elif clock := _CLOCK.fullmatch(text):
        date = clock[1] or local_time(then.isoformat()[:19])[:10]
        try:
            local = datetime.fromisoformat(f"{date} {int(clock[2]):02}:{clock[3]}:{clock[4] or '00'}")
        except ValueError as error:
            raise UsageError(f"'{text}' is no time", hint="such as 14:05, 14:05:30, -10m") from error
        meant = local.astimezone(UTC)
    else:
        raise UsageError(f"'{text}' is no time", hint="such as 14:05, 14:05:30, -10m")
    return f"{meant:%Y-%m-%dT%H:%M:%S}.000000000Z"
