"""`anomaly leaderboard`: the rows of sweeps as Markdown, CSV and one page with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anomaly.commands.console import Console

if TYPE_CHECKING:
    from anomaly.commands.compose import Settings

_SHOWN = ("competitor", "rank", "ap", "auroc", "sets", "default_wins", "default_losses", "holm")


def command(settings: Settings) -> None:
    """Draw the leaderboard and print its head."""
    from anomaly.sweeps.board import boards
    from anomaly.sweeps.page import write_leaderboard
    from anomaly.sweeps.store import ResultStore

    values = settings.values
    results = Path(values["results"])
    rows = ResultStore(results).read()
    out = Path(values["out"] or results)
    with Console(quiet=values["quiet"]) as console:
        title = values["title"] or results.resolve().name
        for board in boards(rows, values["against"]):
            console.table(board.title, [{key: line[key] for key in _SHOWN} for line in board.lines])
        written = write_leaderboard(rows, out, against=values["against"], title=title)
        console.say("written: " + ", ".join(str(path) for path in written))
