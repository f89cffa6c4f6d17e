"""One small shop and one small run of everything, shared by the tests that only read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pytest

from anomaly.commands.dispatch import dispatch
from anomaly.simulation.shop import Shop

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["model.width=16", "trainer.max_epochs=2", "trainer=cpu", "ensemble.corrupted_events=2000"]
"""Every member, as small as it may be."""

COUNTS = ["model=none", "detector=counts", "corruption=none"]
"""A run in a second or two."""


@dataclass(frozen=True)
class ShopFiles:
    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "events.parquet"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.parquet"

    @property
    def roles(self) -> list[str]:
        return [f"events.path={self.events}", "events=shop", "events.categorical=[event,category,device]", "quiet=true"]

    def frame(self) -> pl.DataFrame:
        return pl.read_parquet(self.events)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ShopFiles:
    folder = tmp_path_factory.mktemp("shop")
    Shop(users=60, days=20, sessions_per_user=6, anomaly_rate=0.05, camouflage=0.1).simulate().save(folder)
    return ShopFiles(folder)


@pytest.fixture(scope="session")
def run(shop: ShopFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of every member; nobody may change it."""
    folder = tmp_path_factory.mktemp("runs") / "a run, with $ and 'quotes' = {all}"
    assert dispatch(["train", f"run={folder}", *shop.roles, *TINY, f"labels={shop.labels}"]) == 0
    return folder


@pytest.fixture(scope="session")
def counts_run(shop: ShopFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of the counting members; nobody may change it."""
    folder = tmp_path_factory.mktemp("runs") / "counts"
    assert dispatch(["train", f"run={folder}", *shop.roles, *COUNTS]) == 0
    return folder


@pytest.fixture(scope="session")
def event_run(shop: ShopFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of the counting members that ranks single events; nobody may change it."""
    folder = tmp_path_factory.mktemp("runs") / "events"
    roles = ["events.id=event_id", "events.numeric=[amount]", "unit=event"]
    assert dispatch(["train", f"run={folder}", *shop.roles, *COUNTS, *roles]) == 0
    return folder
