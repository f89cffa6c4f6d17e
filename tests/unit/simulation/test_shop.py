"""The simulator keeps its promises: size, share, truth, determinism, clear refusals."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from anomaly.errors import AnomalyError, ConfigError
from anomaly.simulation.log import EVENTS
from anomaly.simulation.shop import TYPOLOGIES, Shop
from anomaly.simulation.simulated import Simulated

START = datetime(2025, 1, 6, tzinfo=UTC)
COLUMNS = "event_id user session time event category seller item amount device address card rating".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def shop() -> Simulated:
    return Shop(users=600, random_state=1).simulate()


def check_truth(made: Simulated, days: float) -> None:
    events, labels, truth = made.events, made.labels, made.event_labels
    assert events["event_id"].to_list() == list(range(len(events)))
    assert events["time"].is_sorted()
    assert labels["sequence"].is_unique().all()
    assert set(labels["sequence"]) == set(events["session"])
    assert truth["id"].equals(events["event_id"], check_names=False)
    assert truth["sequence"].equals(events["session"], check_names=False)
    assert events["time"].min() >= START
    assert events["time"].max() < START + timedelta(days=days)
    by = truth.join(labels, on="sequence", suffix="_of_sequence")
    deeds = by.filter(pl.col("label") == 1)
    assert (deeds["label_of_sequence"] == 1).all()
    assert (deeds["typology"] == deeds["typology_of_sequence"]).all()
    assert (by.filter(pl.col("label") == 0)["typology"] == "").all()
    assert (labels["label"] == (labels["typology"] != "").cast(pl.Int64)).all()
    marked = deeds["sequence"].n_unique()
    assert marked >= 0.9 * labels["label"].sum()
    expected = events.select(position=pl.int_range(pl.len()).over("session"))["position"]
    assert truth["position"].equals(expected, check_names=False)
    assert events.group_by("session").agg(pl.col("user").n_unique())["user"].max() == 1
    entity = events.group_by("session").agg(pl.col("user").first()).join(labels, left_on="session", right_on="sequence")
    assert (entity["user"] == entity["entity"]).all()


def test_truth_is_consistent(shop: Simulated) -> None:
    check_truth(shop, 60)
    assert set(shop.labels["typology"]) == {"", *TYPOLOGIES}


@settings(deadline=None, max_examples=25)
@given(
    users=st.integers(20, 120),
    rate=st.floats(0, 0.2),
    camouflage=st.floats(0, 1),
    days=st.floats(7, 90),
    seed=st.integers(0, 2**32),
)
def test_any_small_shop_is_consistent(users: int, rate: float, camouflage: float, days: float, seed: int) -> None:
    made = Shop(users=users, anomaly_rate=rate, camouflage=camouflage, days=days, random_state=seed).simulate()
    check_truth(made, days)
    assert abs(made.labels["label"].mean() - rate) < 0.02 + 0.15 * rate
    check_brushing(made)
    check_churn(made)


def check_brushing(made: Simulated) -> None:
    """Three orders of a buyer within an hour for one seller: every brushing session, and no honest one."""
    orders = made.events.filter(pl.col("event") == "order").sort("user", "seller", "time")
    orders = orders.join(
        made.labels.select(session="sequence", typology="typology"), on="session", maintain_order="left"
    )
    spans = orders.with_columns(
        span=(pl.col("time") - pl.col("time").shift(2)).over("typology", "user", "seller").dt.total_seconds()
    )
    keepers = spans.filter(pl.col("span") < 3600)
    brushing = made.labels.filter(pl.col("typology") == "order_brushing")["sequence"]
    assert set(brushing) <= set(keepers["session"])
    assert "" not in set(keepers["typology"])


def check_churn(made: Simulated) -> None:
    """Sessions of churn are the last of their users, and long before the end."""
    starts = made.events.group_by("session").agg(pl.col("time").first(), pl.col("user").first())
    starts = starts.join(made.labels, left_on="session", right_on="sequence")
    last = starts.filter(pl.col("typology") == "churn").group_by("user").agg(first=pl.col("time").min())
    later = starts.filter(pl.col("typology") != "churn").join(last, on="user").filter(pl.col("time") > pl.col("first"))
    assert len(later) == 0


def test_brushing_and_churn(shop: Simulated) -> None:
    check_brushing(shop)
    check_churn(shop)
    assert (shop.labels["typology"] == "order_brushing").sum() >= 8


def test_columns_hold_no_label(shop: Simulated) -> None:
    events = shop.events
    assert events.columns == COLUMNS
    assert events["time"].dtype == pl.Datetime("us", "UTC")
    assert set(events["event"].unique()) == set(EVENTS)
    assert events["amount"].is_null().any()
    assert not events["amount"].is_nan().any()
    assert events["device"].null_count() == 0
    filled = events.group_by("event").agg(pl.col("amount", "rating", "card", "seller").is_not_null().mean())
    shares = {row["event"]: row for row in filled.to_dicts()}
    assert shares["pay"]["amount"] == shares["pay"]["card"] == shares["review"]["rating"] == 1
    assert shares["browse"]["amount"] == shares["search"]["seller"] == shares["login"]["card"] == 0


@pytest.mark.parametrize("name", ["user", "device", "card", "item"])
def test_ids_tell_nothing(shop: Simulated, name: str) -> None:
    number = shop.events[name].str.slice(1).cast(pl.Int64).alias("number")
    rows = pl.DataFrame({"number": number, "label": shop.event_labels["label"]}).drop_nulls().unique()
    odd, usual = rows.filter(pl.col("label") == 1)["number"], rows.filter(pl.col("label") == 0)["number"]
    assert abs(odd.mean() - usual.mean()) < 5 * usual.std() / np.sqrt(len(odd))


def test_split_is_by_time(shop: Simulated) -> None:
    first = shop.events.group_by("session").agg(pl.col("time").first())
    labels = shop.labels.join(first, left_on="sequence", right_on="session")
    train, test = (labels.filter(pl.col("split") == split)["time"] for split in ("train", "test"))
    assert train.max() < test.min()
    assert 0.6 < len(train) / len(labels) < 0.75


@pytest.mark.parametrize("typology", TYPOLOGIES)
def test_one_typology_alone(typology: str) -> None:
    made = Shop(users=100, typologies=[typology], anomaly_rate=0.05).simulate()
    assert set(made.labels["typology"]) == {"", typology}
    check_truth(made, 60)


@pytest.mark.parametrize("n_events", [1_000, 20_000, 100_000])
@pytest.mark.parametrize("users", [None, 60])
def test_size_by_events(n_events: int, users: int | None) -> None:
    made = Shop(n_events=n_events, users=users).simulate()
    assert abs(len(made.events) / n_events - 1) < 0.05
    assert abs(made.labels["label"].mean() - 0.02) < 0.01
    check_truth(made, 60)


def test_equal_seeds_give_equal_logs() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (Shop(users=80, random_state=seed).simulate() for seed in (3, 3, 4))
    assert one.events.equals(two.events)
    assert one.labels.equals(two.labels)
    assert one.event_labels.equals(two.event_labels)
    assert not one.events.equals(other.events)
    assert (before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_scikit_learn_manners() -> None:
    shop = Shop(users=30, camouflage=0.9)
    assert clone(shop).get_params() == shop.get_params()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"users": 3}, "users=3"),
        ({"users": 50.5}, "users=50.5"),
        ({"n_events": 10}, "n_events=10"),
        ({"users": 1000, "n_events": 2000}, "n_events=2000"),
        ({"days": 1}, "days=1"),
        ({"days": float("nan")}, "days=nan"),
        ({"anomaly_rate": 0.9}, "anomaly_rate=0.9"),
        ({"camouflage": -0.1}, "camouflage=-0.1"),
        ({"camouflage": "much"}, "camouflage='much'"),
        ({"sessions_per_user": 0}, "sessions_per_user=0"),
        ({"typologies": ["churning"]}, "churning"),
        ({"typologies": []}, "typologies=\\[\\]"),
        ({"typologies": ["churn", "churn"]}, "distinct"),
        ({"start": "soon"}, "start='soon'"),
        ({"start": "2025-13-01"}, "2025-13-01"),
        ({"random_state": -1}, "random_state=-1"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Shop(**wrong).simulate()


def test_save_leaves_three_files_and_nothing_else(tmp_path: Path, shop: Simulated) -> None:
    folder = shop.save(tmp_path / "a" / "shop")
    assert sorted(f.name for f in folder.iterdir()) == ["event_labels.parquet", "events.parquet", "labels.parquet"]
    assert pl.read_parquet(folder / "events.parquet").equals(shop.events)
    shop.save(folder)


@pytest.mark.parametrize("files", range(4))
def test_a_save_that_is_killed_leaves_no_events_beside_the_truth_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    old, new = (Shop(users=users, random_state=2).simulate() for users in (20, 30))
    folder, rename, renamed = old.save(tmp_path), Path.replace, []

    def killed(path: Path, target: Path) -> Path:
        if len(renamed) == files:
            raise KeyboardInterrupt
        renamed.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with suppress(KeyboardInterrupt):
        new.save(folder)
    assert len(renamed) == min(files, 3)
    left = {path.stem: pl.read_parquet(path) for path in folder.glob("*.parquet")}
    if "events" in left:
        made = new if left["events"].equals(new.events) else old
        assert all(table.equals(getattr(made, name)) for name, table in left.items())


def test_save_where_nothing_can_be_written(tmp_path: Path, shop: Simulated) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnomalyError, match="file"):
        shop.save(tmp_path / "file")
