"""A desk over a small run, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.active.labels_log import LabelLog
from anomaly.active.learner import ActiveLearner
from anomaly.active.session import LabelSession
from anomaly.artifact.items import items_of_run
from anomaly.artifact.run import Run
from anomaly.commands.dispatch import dispatch
from anomaly.labelling.casebook import Casebook
from anomaly.labelling.page import Desk

QUICK = ["model=none", "detector=counts", "corruption=none", "quiet=true"]
"""A run in a second or two."""


def events(n_users: int = 30) -> pl.DataFrame:
    """Return sessions of users; u0's last one pays with five cards from another device, four hours in."""
    rng, rows = np.random.default_rng(0), []
    for user in range(n_users):
        for visit in range(3):
            start = 1_700_000_000 + 86_400 * visit + int(rng.integers(3600))
            for step, kind in enumerate(["login", "browse", "browse", "cart", "pay"]):
                amount = float(rng.gamma(3, 10)) if kind == "pay" else None
                rows.append((f"s{user}-{visit}", f"u{user}", start + 30 * step, kind, f"d{user}", f"c{user}", amount))
    for k in range(5):
        rows.append(("s0-2", "u0", 1_700_200_000 + 14_400 + k, "pay", "d7", f"c{k + 1}", 1.0 + k))
    names = ["session", "user", "time", "event", "device", "card", "amount"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    return table.with_columns(time=pl.from_epoch("time"))


def train(folder: Path, *options: str, table: pl.DataFrame | None = None) -> Path:
    (events() if table is None else table).write_parquet(folder / "events.parquet")
    roles = ["events.entity=user", "events.categorical=[event,device,card]", "events.numeric=[amount]"]
    command = ["train", f"run={folder / 'run'}", f"events.path={folder / 'events.parquet'}", *roles, *QUICK, *options]
    assert dispatch(command) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("sequences"), "events.sequence=session")


@pytest.fixture(scope="session")
def run(folder: Path) -> Run:
    return anomaly.Run.load(folder)


@pytest.fixture(scope="session")
def book(run: Run) -> Casebook:
    return Casebook(run, items_of_run(run))


@pytest.fixture
def desk(book: Casebook, tmp_path: Path) -> Iterator[Any]:
    with LabelLog(tmp_path / "labels.sqlite") as log:
        learner = ActiveLearner(book.items)
        session = LabelSession(learner, log, double=0.0, times=book.end_times())
        yield Desk(session, book, "a run", ("card_testing",))
