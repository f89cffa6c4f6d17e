"""What a command says: results on stdout, progress on stderr, nothing where quiet."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from anomaly.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

_SOON = 2.0
"""Seconds before a bar is shown; shorter work needs none."""


class Console:
    """Lines, tables and one progress bar.

    Use it as a context so that the bar is gone when the work ends, well or not.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Progress | None = None
        self._begun: dict[str, float] = {}
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_progress()

    def say(self, text: str = "") -> None:
        """Write a line to stdout."""
        if not self.quiet:
            self.end_progress()
            sys.stdout.write(visible(text) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Write a line to stderr: a warning, or what was guessed."""
        if not self.quiet:
            self.end_progress()
            sys.stderr.write(visible(text) + "\n")

    def table(self, title: str, rows: Iterable[Mapping[str, Any]], *, to_stderr: bool = False) -> None:
        """Write rows as a table; the keys of the first are the columns."""
        found = list(rows)
        if self.quiet or not found:
            return
        self.end_progress()
        table = Table(title=visible(title), title_justify="left", show_edge=False)
        for name in found[0]:
            table.add_column(visible(str(name)), overflow="fold")
        for row in found:
            table.add_row(*(_cell(value) for value in row.values()))
        width = None if sys.stdout.isatty() else 120
        RichConsole(stderr=to_stderr, width=width, markup=False, highlight=False).print(table)

    def progress(self, what: str, done: int | float | None = None, total: int | float | None = None) -> None:
        """Show how far some work is, once it has taken two seconds."""
        now = time.monotonic()
        first = self._begun.setdefault(what, now)
        if self.quiet or (self._bar is None and now - first < _SOON and done is not None):
            return
        if self._bar is None:
            self._start()
        assert self._bar is not None
        self._bar.update(self._task, description=what, completed=done or 0, total=total)

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> None:
        screen = RichConsole(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        # Where stderr is a file a bar would only fill it.
        self._bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()


def visible(text: str) -> str:
    """Return a text in which what would command a terminal is made visible, character for character."""
    return clean(text, len(text)).replace("\r", "\ufffd")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else visible(str(value))
