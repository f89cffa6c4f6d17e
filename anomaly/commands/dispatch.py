"""`anomaly COMMAND key=value ...`: finds the command, composes its configuration, turns errors into one line."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from anomaly.commands.compose import Settings, commands, compose
from anomaly.errors import AnomalyError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

USER_ERROR, INTERRUPTED = 2, 130
_HELP = ("--help", "-h", "help")
_LEVELS = ("debug", "info", "warning", "error")


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code: 0, 2 for what a user can mend, 130 for Ctrl-C."""
    debug = "debug=true" in arguments
    _leave_cores_free()
    try:
        return _dispatch(list(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does; a second failure at exit would only confuse.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except AnomalyError as error:
        if debug:
            raise
        from anomaly.commands.console import visible

        sys.stderr.write(f"error: {visible(' '.join(str(error).split()))}\n")
        return USER_ERROR


def _leave_cores_free() -> None:
    """Take half of the cores, unless the environment says otherwise; numerical libraries count them when they load.

    Threads that wait for each other at every step make a busy machine many times slower: beside one other process on
    two cores a training took eight minutes in place of one. On an idle one the second core wins an eighth.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) // 2, 1)))


def _dispatch(arguments: list[str]) -> int:
    from anomaly.commands.help import overview, page

    if not arguments or arguments[0] in _HELP:
        sys.stdout.write(overview() + "\n")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command in ("--version", "version"):
        from anomaly import __version__

        sys.stdout.write(f"anomaly {__version__}\n")
        return 0
    if command not in commands():
        raise ConfigError(_no_command(command))
    if any(word in _HELP for word in rest):
        sys.stdout.write(page(command, rest) + "\n")
        return 0
    settings = compose(command, rest)
    _set_log_level(settings)
    importlib.import_module(f"anomaly.commands.{command}").command(settings)
    return 0


def _no_command(command: str) -> str:
    close = difflib.get_close_matches(command, commands(), 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(commands())}"
    return f"{command}: no such command; {hint}"


def _set_log_level(settings: Settings) -> None:
    level = settings.values["log_level"]
    if level not in _LEVELS:
        raise ConfigError(f"log_level={level}: expected one of {', '.join(_LEVELS)}")
    # The package's own logger alone: other libraries' advice is not the user's concern.
    log = logging.getLogger("anomaly")
    log.setLevel(level.upper())
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
