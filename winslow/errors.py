"""Every error a person or a script can meet.

    WinslowError                    exit code 1
    ├── InvalidInput                1   a definition, document or value breaks a rule
    ├── Refused                     1   the command makes no sense in the present state
    ├── UsageError                  2   the command line itself is off
    ├── NotFound                    3   the named thing does not exist
    ├── Conflict                    4   somebody else changed it first, or a name is ambiguous
    └── Unreachable                 5   a server did not answer; `retryable`
        ├── StoreUnreachable            the outcome of a write may be unknown
        ├── StoreRefused                it answers, but does not let us in; nothing was done, waiting does not help
        ├── BrokerUnreachable
        └── NodeUnreachable             the node that has what was asked for is away

An error's text names the thing and the place; `hint` says the way out. One place
(`winslow_tui.cli.main`) turns them into what a person sees and the process's exit code.
"""

from __future__ import annotations


class WinslowError(Exception):
    """The root; `hint` is what the operator can do, `retryable` whether the same call may succeed later."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidInput(WinslowError):
    """A definition, a document or a value breaks a rule."""


class Refused(WinslowError):
    """The command makes no sense in the present state (for example: abort where nothing runs)."""


class UsageError(WinslowError):
    """The command line itself is off."""

    exit_code = 2


class NotFound(WinslowError):
    """The named project, pipeline, node, run or file does not exist."""

    exit_code = 3


class Conflict(WinslowError):
    """A conditional write lost, or a name stands for several things."""

    exit_code = 4


class Unreachable(WinslowError):
    """A server did not answer; what was asked of it may or may not have been done."""

    exit_code = 5
    retryable = True


class StoreUnreachable(Unreachable):
    """The object store did not answer, or answered with a server error."""


class StoreRefused(Unreachable):
    """The object store answers, but not to this key or this clock, or it has no such bucket; nothing was done."""

    retryable = False


class BrokerUnreachable(Unreachable):
    """The MQTT broker did not answer."""


class NodeUnreachable(Unreachable):
    """The agent of a node did not answer."""
