from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.base import Detector, FeatureMatrix
from anomaly.errors import ConfigError, DataError
from anomaly.features.table import read_table
from anomaly.sweeps.competitors import AsItComes, OnFeatures
from anomaly.sweeps.datasets import SequenceSet, TableSet, find_sets
from anomaly.sweeps.floors import LargestZ, NGramFloor, ShortLength
from anomaly.sweeps.shops import simulated
from anomaly.sweeps.splits import halves, label_budget
from anomaly.sweeps.task import SequenceTask, TableTask

Make = Callable[..., TableSet]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SequenceSet:
    (path,) = simulated("shop", tmp_path_factory.mktemp("shops"))
    (found,) = find_sets([str(path)], None)
    assert isinstance(found, SequenceSet)
    return found


def test_names_stand_for_one_set_or_all_of_a_folder(tmp_path: Path, table: Make) -> None:
    table("b")
    table("a", rows=500)
    assert [s.name for s in find_sets([tmp_path.name], tmp_path.parent)] == ["b", "a"], "the smaller first"
    assert [s.name for s in find_sets([f"{tmp_path.name}/a", str(tmp_path / "a.npz")], tmp_path.parent)] == ["a"]
    with pytest.raises(ConfigError, match=r"data=nothing: nothing at .*dataset\.yaml"):
        find_sets(["nothing"], tmp_path)
    (tmp_path / "events.parquet").touch()
    with pytest.raises(ConfigError, match=r"dataset\.yaml: no such file; a labelled folder"):
        find_sets([tmp_path.name], tmp_path.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="neither labelled folders nor tables"):
        find_sets(["empty"], tmp_path)


def test_a_cap_is_a_seeded_draw(table: Make) -> None:
    capped = table(cap=50)
    first, again, other = capped.task(0), capped.task(0), capped.task(1)
    assert first.ids.to_list() == again.ids.to_list() != other.ids.to_list()
    assert len(first.ids) == 50 and first.scores_what_it_fits and first.repeats() is None
    assert capped.truth(first.ids).tolist() == [int(i < 12) for i in first.ids]
    assert capped.draws(None) and not table().draws(None)


def test_under_a_budget_duplicates_are_gone_and_halves_do_not_meet(tmp_path: Path) -> None:
    X = np.repeat(np.random.default_rng(0).normal(size=(60, 3)), 3, axis=0)
    np.savez(tmp_path / "d.npz", X=X, y=np.repeat(np.arange(60) < 10, 3).astype(int))
    task = TableSet(tmp_path / "d.npz").task(0, 0.2)
    assert isinstance(task, TableTask) and task.labels is not None
    assert len(task.fit) + len(task.score) == 60 and task.repeats() == 0
    assert sorted(set(task.labels)) == [-1, 1] and (task.labels == 1).sum() == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=80), st.floats(0.01, 1), st.integers(0, 5))
def test_halves_share_all_rows_and_budgets_name_anomalies_only(truth: list[int], share: float, seed: int) -> None:
    labels = np.array(truth)
    first, second = halves(labels, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert abs(int(labels[first].sum()) - int(labels[second].sum())) <= 1
    known = label_budget(labels, share, seed)
    assert (labels[known == 1] == 1).all() and set(known) <= {-1, 1}
    assert (known == 1).sum() == (max(1, round(share * labels.sum())) if labels.sum() else 0)


def test_text_labels_of_csv_and_bad_tables(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1.0, 2, 3], "label": ["nominal", "anomaly", "nominal"]}).write_csv(tmp_path / "t.csv")
    found = TableSet(tmp_path / "t.csv")
    assert found.truth(found.task(0).ids).tolist() == [0, 1, 0] and found.task(0).features()[0].names == ("a",)
    pl.DataFrame({"a": [date(2024, 1, 1)], "label": [1]}).write_parquet(tmp_path / "u.parquet")
    with pytest.raises(DataError, match=r"u\.parquet: no column is an input"):
        TableSet(tmp_path / "u.parquet").task(0)
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "v.csv")
    with pytest.raises(DataError, match="no column label"):
        TableSet(tmp_path / "v.csv").task(0)


def test_csv_is_read_to_its_end_and_an_unknown_label_is_not_normal(tmp_path: Path) -> None:
    rows = [f"{k if k < 300 else k + 0.5},{label}" for k, label in enumerate([-1, "", 1] + [0] * 400)]
    (tmp_path / "t.csv").write_text("\n".join(["a,label", *rows]))
    found = TableSet(tmp_path / "t.csv")
    task = found.task(0)
    assert task.features()[0].values[-1, 0] == 402.5
    assert found.truth(task.ids)[:4].tolist() == [-1, -1, 1, 0]


def test_text_is_encoded_as_training_does_from_the_fitted_rows_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.choice(["a", "b", "c"], 400, p=[0.7, 0.2, 0.1])
    frame = pl.DataFrame({"kind": kinds, "amount": rng.normal(size=400), "ok": rng.random(400) < 0.9})
    frame = frame.with_columns(label=pl.Series((kinds == "c") & (rng.random(400) < 0.5)).cast(pl.Int64))
    frame.write_csv(tmp_path / "t.csv")
    found = TableSet(tmp_path / "t.csv")
    X, _ = found.task(0).features()
    told = read_table(tmp_path / "t.csv", {"label": "label"}).X
    assert X.names == told.names and np.array_equal(X.values, told.values)
    assert np.allclose(X.values[:, 0], frame["amount"]), "rows keep their order"
    halved = found.task(0, 0.5)
    assert isinstance(halved, TableTask)
    fit, score = halved.features()
    again, _ = TableSet.task(found, 0, 0.5).features()
    assert np.array_equal(fit.values, again.values) and fit.names == score.names and len(fit) + len(score) == 400
    column = fit.names.index("kind.rarity")
    counts = np.unique(fit.values[:, column], return_counts=True)[1]
    rarity = {np.float32(np.log(len(fit) + 1) - np.log(count)) for count in counts}
    assert set(fit.values[:, column]) == rarity == set(score.values[:, column])
    for competitor in (LargestZ(), AsItComes(detector={"_target_": "pyod.models.ecod.ECOD"})):
        assert np.isfinite(competitor.compete(halved).scores).all()


def test_a_set_rests_on_the_code_that_reads_it(tmp_path: Path, table: Make, shop: SequenceSet) -> None:
    assert table().rests_on == ("events/tabular.py",)
    assert TableSet(tmp_path / "t.csv").rests_on == shop.rests_on


@pytest.mark.parametrize(("label", "shown"), [("2", "2"), ("fraud", "'fraud'"), ("maybe", "'maybe'"), ("0.5", "0.5")])
def test_a_label_of_no_known_word_is_an_error(tmp_path: Path, label: str, shown: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,label\n1,0\n2,1\n3,{label}\n4,0\n")
    found = TableSet(tmp_path / "t.csv")
    with pytest.raises(DataError, match=rf"t\.csv: column label, row 3 holds {shown}, expected one of 1"):
        found.truth(found.task(0).ids)
    y = np.array(["0", "1", label, "0"]) if shown.startswith("'") else np.array([0, 1, float(label), 0])
    np.savez(tmp_path / "t.npz", X=np.zeros((4, 2)), y=y)
    with pytest.raises(DataError, match="column y, row 3"):
        TableSet(tmp_path / "t.npz").truth(found.task(0).ids)


def test_words_of_a_label(tmp_path: Path) -> None:
    words = ["True", "outlier", "anomalous", " 1 ", "1.0", "false", "inlier", "Normal", "0", "unknown", "NaN", "-1", ""]
    np.savez(tmp_path / "t.npz", X=np.zeros((13, 1)), y=np.array(words))
    pl.DataFrame({"a": range(13), "label": words}).write_parquet(tmp_path / "t.parquet")
    for name in ("t.npz", "t.parquet"):
        truth = TableSet(tmp_path / name).truth(pl.Series(range(13)))
        assert truth.tolist() == [1] * 5 + [0] * 4 + [-1] * 4


def test_npz_with_fewer_labels_than_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.zeros((20, 2)), y=np.zeros(19))
    found = TableSet(tmp_path / "t.npz")
    with pytest.raises(DataError, match="19 labels"):
        found.truth(found.task(0).ids)


def test_a_simulated_shop_is_cut_by_time_and_floors_read_it(shop: SequenceSet) -> None:
    task = shop.task(0)
    assert isinstance(task, SequenceTask) and not task.scores_what_it_fits
    fit, score = task.folder.rows(task.events, task.folder.fit), task.folder.rows(task.events, task.folder.score)
    begun = lambda rows: rows.group_by("session").agg(pl.col("time").min())["time"]  # noqa: E731
    assert begun(fit).max() < begun(score).min()
    assert task.repeats() is not None and len(task.ids) == len(task.features()[1])
    truth = shop.truth(task.ids)
    for floor in (ShortLength(), NGramFloor(statistic="unigram"), NGramFloor(statistic="own"), LargestZ()):
        outcome = floor.compete(task)
        assert outcome.scores.shape == truth.shape and np.isfinite(outcome.scores).all() and not floor.uses_seed()
    with pytest.raises(ConfigError, match="label budgets are for tables"):
        shop.task(0, 0.1)


def test_events_are_rows_where_they_are_the_items(shop: SequenceSet) -> None:
    from dataclasses import replace

    events = {**shop.folder.events, "id": "event_id"}
    folder = replace(shop.folder, level="event", events=events, fit="all", score="all")
    task = SequenceTask(folder, seed=0)
    rows = task.features()[1]
    assert len(rows) == len(task.ids) == task.prepared[1].n_events
    assert np.isfinite(rows.values).all() and "amount.own_z" in rows.names
    assert NGramFloor(statistic="bigram").compete(task).scores.shape == (len(rows),)


def test_pyod_as_it_comes_is_what_pyod_gives(table: Make) -> None:
    from pyod.models.knn import KNN
    from sklearn.preprocessing import StandardScaler

    task = table().task(0)
    rows = StandardScaler().fit_transform(task.features()[0].values.astype(float))
    competitor = AsItComes(detector={"_target_": "pyod.models.knn.KNN", "n_neighbors": 7})
    assert np.allclose(competitor.compete(task).scores, KNN(n_neighbors=7).fit(rows).decision_scores_)
    assert not competitor.uses_seed()
    assert AsItComes(detector={"_target_": "pyod.models.iforest.IForest"}).uses_seed()
    with pytest.raises(ConfigError, match=r"expected a class of pyod\.models"):
        AsItComes(detector={"_target_": "sklearn.svm.SVC"}).uses_seed()


def test_the_folders_of_real_data_are_read_in_place(data: Path) -> None:
    kinds = {name: find_sets([name], data) for name in ("sequences", "tabular", "aad")}
    assert {s.kind for s in kinds["sequences"]} == {"sequences"} and "hdfs_100k" not in {
        s.name for s in kinds["sequences"]
    }
    sizes = [s.path.stat().st_size for s in kinds["tabular"]]
    assert sizes == sorted(sizes) and {s.kind for s in (*kinds["tabular"], *kinds["aad"])} == {"table"}
    small = kinds["aad"][0]
    assert 0 < small.truth(small.task(0).ids).mean() < 0.5 and len(small.fingerprint) == 16


class Largest(Detector):
    """As somebody writes one who knows `fit` and `decision_function` alone."""

    def fit(self, X: FeatureMatrix, y: object = None) -> Largest:
        self.median_ = np.median(X.values, axis=0)
        return self

    def decision_function(self, X: FeatureMatrix) -> np.ndarray:
        return np.abs(X.values - self.median_).max(axis=1).astype(np.float64)


def test_a_detector_that_keeps_no_scores_of_its_fit_competes(table: Make) -> None:
    task = table().task(0)
    fit, score = task.features()
    scores = OnFeatures(detector=Largest()).compete(task).scores
    np.testing.assert_array_equal(scores, Largest().fit(fit).decision_function(score))


def test_numbers_of_the_rows_are_no_input_of_a_draw_either(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = np.repeat(rng.normal(size=(100, 2)).round(3), 2, axis=0)
    columns = {"id": np.arange(200), "a": seen[:, 0], "b": seen[:, 1], "label": (np.arange(200) < 40).astype(int)}
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    for rows, labels in ((None, None), (150, None), (None, 0.5)):
        task = TableSet(tmp_path / "t.csv", rows=rows).task(0, labels)
        assert task.fit.names == task.score.names == ("a", "b")
    # Each row is there twice but for its number.
    assert len(task.fit) + len(task.score) == 100
