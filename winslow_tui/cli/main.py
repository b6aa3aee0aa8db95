"""The command `winslow`: the one place where errors become what a person sees and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 broker or store unreachable,
or it refuses, 130 interrupted. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from winslow.errors import Unreachable, WinslowError
from winslow_tui.cli.flags import Flags, configured
from winslow_tui.cli.output import say


def main() -> None:
    """The entry point of the command `winslow`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _broken_pipe()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. A defect of the program itself comes out with its traceback."""
    try:
        if arguments:
            from winslow_tui.cli.commands import app

            app(args=list(arguments))
        else:  # `winslow` alone needs none of the commands, which take 80 ms to import and to build
            from winslow_tui.cli.screen import screen

            screen(lambda: configured(Flags()), readonly=False)
    except SystemExit as end:  # how typer ends, also for a wrong command line (2) and ctrl+c (130)
        return end.code if isinstance(end.code, int) else 0
    except WinslowError as error:
        return _fail(error)
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as error:  # a local file: the store's and the broker's errors are WinslowErrors
        say(f"winslow: {error.filename or 'this machine'}: {error.strerror or error}")
        return 1
    return 0


def _fail(error: WinslowError) -> int:
    say(f"winslow: {error}")
    if isinstance(
        error.__cause__, Unreachable
    ):  # who did not answer, where the error says what is unknown now
        say(f"  {error.__cause__}")
    if error.hint:
        say(f"  {error.hint}")
    return error.exit_code


def _broken_pipe() -> int:
    """Whoever read our output has gone (`| head`): nothing more can be printed, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1
