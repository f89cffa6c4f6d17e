import json

import numpy as np
import polars as pl
import pytest

from anomaly.errors import ConfigError, DataError, SchemaError
from anomaly.metrics import auroc, average_precision, evaluate, event_key, match_labels


def frames(n=200, seed=0):
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.1).astype(int)
    score = rng.normal(size=n) + 2 * label
    scores = pl.DataFrame(
        {
            "sequence": np.arange(n),
            "score": score,
            "flagged": score > 2,
            "score.a": score,
            "score.b": rng.normal(size=n),
        }
    )
    kinds = [str(k) if y else None for k, y in zip(rng.choice(["brushing", "takeover"], n), label, strict=True)]
    labels = pl.DataFrame({"sequence": np.arange(n), "label": label, "typology": kinds})
    return scores, labels


def test_figures_are_those_of_the_ranking_and_plain():
    scores, labels = frames()
    result = evaluate(scores, labels, n_bootstrap=50)
    truth, score = labels["label"].to_numpy(), scores["score"].to_numpy()
    assert result["auroc"]["value"] == auroc(truth, score)
    assert result["average_precision"]["value"] == average_precision(truth, score)
    assert result["auroc"]["low"] < result["auroc"]["value"] < result["auroc"]["high"]
    assert [row["count"] for row in result["budgets"]] == [1, 2, 10]
    flagged = scores["flagged"].to_numpy()
    assert result["flagged"]["found"] == int((flagged & (truth == 1)).sum())
    assert result["flagged"]["precision"]["value"] == pytest.approx(truth[flagged].mean())
    assert result["flagged"]["false_positive_rate"]["value"] == pytest.approx(flagged[truth == 0].mean())
    assert result["n"] == result["n_anomalous"] + result["n_normal"] == 200
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_list_of_anomalies_alone_judges_a_ranking_where_all_others_are_normal():
    scores, labels = frames()
    listed = labels.filter(pl.col("label") == 1)
    whole, alone = evaluate(scores, labels), evaluate(scores, listed, unmatched="normal")
    assert alone["auroc"] == whole["auroc"] and alone["typology"] == whole["typology"]
    assert alone["n_normal"] == len(scores) - len(listed) and alone["join"]["n_matched"] == len(listed)
    with pytest.raises(DataError, match="labels_unmatched=normal"):
        evaluate(scores, listed)
    with pytest.raises(ConfigError, match="labels_unmatched=odd: expected unknown or normal"):
        evaluate(scores, listed, unmatched="odd")


def test_an_anomaly_of_another_split_is_not_normal():
    scores = pl.DataFrame({"sequence": ["a", "b", "c", "d"], "score": [4.0, 3.0, 2.0, 1.0]})
    labels = pl.DataFrame({"sequence": ["a", "b"], "label": [1, 1], "split": ["train", "test"]})
    result = evaluate(scores, labels, split="test", unmatched="normal", n_bootstrap=10)
    assert (result["n_anomalous"], result["n_normal"]) == (1, 2)


def test_every_member_is_judged():
    scores, labels = frames()
    members = {row["member"]: row for row in evaluate(scores, labels, n_bootstrap=10)["members"]}
    assert set(members) == {"a", "b"}
    assert members["a"]["auroc"] > 0.8 > members["b"]["auroc"]


def test_typologies_add_up_to_the_whole():
    result = evaluate(*frames(n=2000), n_bootstrap=10)
    rows = result["typology"]
    assert sum(row["n"] for row in rows) == result["n_anomalous"]
    for k, budget in enumerate(result["budgets"]):
        found = sum(row["n"] * row["budgets"][k]["recall"]["value"] for row in rows)
        assert found == pytest.approx(budget["found"])
    assert sum(row["n"] * row["auroc"] for row in rows) / result["n_anomalous"] == pytest.approx(
        result["auroc"]["value"]
    )


def test_typology_recall_is_fair_under_ties():
    scores, labels = frames(n=1000)
    result = evaluate(scores.with_columns(score=0.0), labels, n_bootstrap=10)
    for row in result["typology"]:
        assert row["budgets"][1]["recall"]["value"] == pytest.approx(0.01)


def test_unmatched_rows_are_counted_and_unknown_ones_left_out():
    scores, labels = frames()
    labels = labels.with_columns(label=pl.when(pl.col("sequence") < 20).then(-1).otherwise("label")).slice(0, 150)
    labels = labels.with_columns(label=pl.when(pl.col("sequence") == 20).then(None).otherwise("label"))
    result = evaluate(scores.slice(5), labels, n_bootstrap=10)
    join = result["join"]
    assert (join["n_scores"], join["n_labels"], join["n_matched"]) == (195, 150, 145)
    assert (join["n_scores_unmatched"], join["n_labels_unmatched"]) == (50, 5)
    assert result["n_unknown"] == 16
    assert result["n"] == 129


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Float64, pl.Boolean])
def test_labels_of_any_number_type(dtype):
    scores, labels = frames()
    expected = evaluate(scores, labels, n_bootstrap=10)
    assert evaluate(scores, labels.with_columns(pl.col("label").cast(dtype)), n_bootstrap=10) == expected


@pytest.mark.parametrize(
    ("left", "right", "casts"),
    [
        (pl.Int64, pl.String, 1),
        (pl.String, pl.Int32, 1),
        (pl.UInt64, pl.Int16, 0),
        (pl.Int64, pl.Float64, 0),
        (pl.Categorical, pl.String, 0),
    ],
)
def test_ids_are_compared_by_value_and_casts_are_reported(left, right, casts):
    scores, labels = frames()
    if left == pl.Categorical:
        scores = scores.with_columns(pl.col("sequence").cast(pl.String))
    scores = scores.with_columns(pl.col("sequence").cast(left))
    result = evaluate(scores, labels.with_columns(pl.col("sequence").cast(right)), n_bootstrap=10)
    assert result["join"]["n_matched"] == 200
    assert len(result["join"]["casts"]) == casts


def test_split_and_other_column_names():
    scores, labels = frames()
    labels = labels.with_columns(split=pl.when(pl.col("sequence") % 2 == 0).then(pl.lit("test")).otherwise(None))
    labels = labels.rename({"sequence": "sequence_id", "label": "fraud", "typology": "kind"})
    result = evaluate(scores, labels, labels_id="sequence_id", label="fraud", typology="kind", split="test")
    assert result["n"] == 100
    assert {row["typology"] for row in result["typology"]} <= {"brushing", "takeover"}
    with pytest.raises(DataError, match="there are test"):
        evaluate(scores, labels, labels_id="sequence_id", label="fraud", split="train")


def test_event_level_by_id_or_by_sequence_and_position():
    rng = np.random.default_rng(0)
    events = pl.DataFrame(
        {"sequence": np.repeat(["a", "b"], 50), "position": np.tile(np.arange(50), 2), "id": np.arange(100) + 7}
    ).with_columns(score=pl.Series(rng.normal(size=100)))
    labels = events.with_columns(label=pl.Series(rng.integers(0, 2, 100))).drop("score")
    by_id = labels.drop("sequence", "position")
    by_place = labels.drop("id").sample(fraction=1, shuffle=True, seed=0)
    results = []
    for frame in (by_id, by_place):
        scores_id, labels_id = event_key(frame)
        results.append(evaluate(events, frame, scores_id=scores_id, labels_id=labels_id, n_bootstrap=10))
    assert results[0]["auroc"] == results[1]["auroc"]
    assert event_key(by_id.rename({"id": "event_id"}), "event_id") == (["id"], ["event_id"])
    assert event_key(by_id.rename({"id": "item"})) == (["id"], ["item"])
    with pytest.raises(SchemaError, match="labels_id="):
        event_key(pl.DataFrame({"label": [1]}))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s, y: (s, y.rename({"sequence": "key"})), SchemaError, "no column 'sequence'.*labels_id="),
        (lambda s, y: (s, y.drop("label")), SchemaError, "no column 'label'"),
        (lambda s, y: (s.drop("score"), y), SchemaError, "no column 'score'"),
        (lambda s, y: (s, pl.concat([y, y.head(1)])), DataError, "labels hold sequence=0 more than once"),
        (lambda s, y: (pl.concat([s, s.tail(1)]), y), DataError, "scores hold sequence=199 more than once"),
        (lambda s, y: (s, y.with_columns(label=pl.lit("x"))), DataError, "String; expected 1"),
        (lambda s, y: (s, y.with_columns(label=pl.lit(2))), DataError, "holds 2; expected 1"),
        (lambda s, y: (s, y.with_columns(label=pl.lit(0))), DataError, "0 anomalous and 200 normal"),
        (lambda s, y: (s, y.with_columns(label=pl.lit(-1))), DataError, "0 anomalous and 0 normal"),
        (lambda s, y: (s, y.with_columns(pl.col("sequence") + 500)), DataError, "no scored row has a label"),
        (lambda s, y: (s, y.with_columns(sequence=pl.date(2020, 1, 1))), SchemaError, "cannot be compared"),
        (lambda s, y: (s.with_columns(score=pl.lit(None, pl.Float64)), y), DataError, "not finite"),
        (lambda s, y: (s.head(0), y), DataError, "no scored row has a label"),
    ],
)
def test_what_cannot_be_compared_is_named(change, error, message):
    scores, labels = change(*frames())
    with pytest.raises(error, match=message):
        evaluate(scores, labels, n_bootstrap=10)


def test_missing_keys_match_nothing():
    scores = pl.DataFrame({"sequence": [1, None, None], "score": [1.0, 2.0, 3.0]})
    labels = pl.DataFrame({"sequence": [1, None, None], "label": [1, 0, 0]})
    matched = match_labels(scores, labels)
    assert matched.rows["sequence"].to_list() == [1]
    assert matched.join["n_labels_unmatched"] == 2


def test_ids_past_the_signed_range_are_compared_exactly():
    ids = pl.Series([2**63 + 1, 2**63 + 2, 3], dtype=pl.UInt64)
    scores = pl.DataFrame({"sequence": ids, "score": [1.0, 2.0, 3.0]})
    labels = pl.DataFrame({"sequence": pl.Series([2**63 + 2, 3], dtype=pl.UInt64), "label": [1, 0]})
    assert match_labels(scores, labels).rows["label"].to_list() == [1, 0]
    assert match_labels(scores, labels.cast({"sequence": pl.String})).rows["label"].to_list() == [1, 0]


def test_the_labels_of_a_session_match_by_their_item():
    scores, labels = frames()
    logged = labels.rename({"sequence": "item"})
    assert match_labels(scores, logged).rows.equals(match_labels(scores, labels).rows)
    with pytest.raises(SchemaError, match="no column 'sequence'"):
        match_labels(scores, labels.rename({"sequence": "other"}))
