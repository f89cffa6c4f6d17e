"""A training that goes on from an older run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import ShopFiles

TINY = ["model.width=16", "trainer=cpu", "trainer.max_epochs=1", "detector=counts", "corruption=none", "quiet=true"]


@pytest.fixture(scope="module")
def warm(shop: ShopFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm")
    events = shop.frame()
    first = events.group_by("session").agg(pl.col("time").min().alias("first"))
    early = events.join(first, on="session")["first"] < first["first"].median()
    for name, part in (("early", early), ("late", ~early)):
        events.filter(part).write_parquet(folder / f"{name}.parquet")
    roles = [*shop.roles[1:], *TINY]
    assert dispatch(["train", f"run={folder / 'old'}", f"events.path={folder / 'early.parquet'}", *roles]) == 0
    arguments = [f"run={folder / 'new'}", f"init_from={folder / 'old'}", f"labels={shop.labels}"]
    assert dispatch(["train", *arguments, f"events.path={folder / 'late.parquet'}", *roles]) == 0
    return folder


def test_it_knows_what_the_older_run_knew(warm: Path) -> None:
    old, new = anomaly.Run.load(warm / "old"), anomaly.Run.load(warm / "new")
    for name, before in old.encoder.vocabularies_.items():
        after = new.encoder.vocabularies_[name]
        assert after.values_.head(len(before.values_)).to_list() == before.values_.to_list()
    assert new.encoder.n_entities >= old.encoder.n_entities


def test_it_says_what_was_gained_and_forgotten(warm: Path) -> None:
    periods = anomaly.Run.load(warm / "new").facts["warm_start"]["periods"]
    assert [p["period"] for p in periods] == ["old", "new"]
    assert periods[1]["new"] < periods[1]["old"]
    assert 0 < periods[0]["old_precision"] <= 1


def test_it_scores_and_ranks_the_new_rows_alone(warm: Path) -> None:
    new = anomaly.Run.load(warm / "new")
    sessions = pl.read_parquet(warm / "late.parquet")["session"].unique()
    assert set(new.scores["sequence"]) == set(sessions)
    again = new.score(warm / "late.parquet")
    assert (again["score"] - new.scores["score"]).abs().max() < 1e-5


def test_another_unit_is_refused(warm: Path, shop: ShopFiles, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"run={warm / 'other'}", f"init_from={warm / 'old'}", "unit=event", *shop.roles, *TINY]
    assert dispatch(["train", *arguments]) == 2
    assert "give unit= as it was there" in capsys.readouterr().err
    assert not (warm / "other").exists()


@pytest.mark.parametrize("model", ["none", "contrastive", "autoencoder_gru"])
def test_another_model_is_refused_before_it_is_trained(
    model: str, warm: Path, shop: ShopFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"run={warm / 'other'}", f"init_from={warm / 'old'}", f"model={model}", *shop.roles, *TINY[1:]]
    assert dispatch(["train", *arguments]) == 2
    assert "its networks are next_event, " in capsys.readouterr().err
    assert not (warm / "other").exists()
