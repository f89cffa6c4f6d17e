"""Scores against labels: the figures of a ranking as one plain, JSON-ready dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.errors import SchemaError
from anomaly.metrics.intervals import (
    Replicates,
    bootstrap_auroc,
    bootstrap_average_precision,
    clopper_pearson,
    precision_band,
    resample,
    roc_band,
)
from anomaly.metrics.matching import Matched, match_labels
from anomaly.metrics.ranking import RankCurve, area_under_roc, area_under_steps, at_budget, rank_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BUDGETS = (0.001, 0.01, 0.05)
MEMBER = "score."


def evaluate(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    scores_id: str | Sequence[str] = "sequence",
    labels_id: str | Sequence[str] | None = None,
    label: str = "label",
    split: str | None = None,
    typology: str | None = None,
    unmatched: str = "unknown",
    score: str = "score",
    budgets: Sequence[float] = BUDGETS,
    n_bootstrap: int = 500,
    random_state: int = 0,
) -> dict[str, Any]:
    """Compare scores with labels.

    Parameters
    ----------
    scores : columns `scores_id`, `score`; ``flagged`` and ``score.<member>`` are used where they are there
    labels : columns `labels_id` (as `scores_id` unless stated), `label` in {1, 0, -1, null}; ``split`` and `typology`
        (a column of that name unless stated) are used where they are there
    scores_id, labels_id : one column, or several that are the key together (``("sequence", "position")``)
    split : keep the labels whose column ``split`` has this value
    unmatched : what a scored row is that no label names: "unknown", or "normal" for lists of anomalies alone
    budgets : shares of the labelled items, anomalous and normal, that are looked at

    Returns
    -------
    dict
        ``join`` (counts of both sides, what matched, what was cast), ``n``, ``n_anomalous``, ``n_normal``,
        ``n_unknown``, ``prevalence``, ``auroc`` and ``average_precision`` (``value``, ``low``, ``high``: 95%
        stratified bootstrap), ``budgets``, ``flagged`` or None, ``typology``, ``members``, ``curves``. Intervals of
        rates are exact (Clopper and Pearson).

    Raises
    ------
    SchemaError
        If a column is missing or the two ids cannot be compared.
    DataError
        If an id is there twice, a label is none of 1, 0, -1, a score is not finite, nothing matches, or the matched
        labels are of one class.
    """
    keys: dict[str, Any] = {"scores_id": scores_id, "labels_id": labels_id, "label": label}
    matched = match_labels(scores, labels, **keys, split=split, typology=typology, unmatched=unmatched)
    rows, truth = matched.rows, matched.rows["label"].to_numpy()
    values = _column(rows, score)
    curve = rank_curve(truth, values)
    replicates = resample(curve, n_bootstrap=n_bootstrap, random_state=random_state)
    return {
        "join": matched.join,
        "split": split,
        **_counts(curve, matched),
        "auroc": bootstrap_auroc(curve, replicates)._asdict(),
        "average_precision": bootstrap_average_precision(curve, replicates)._asdict(),
        "budgets": [_budget(curve, rate) for rate in budgets],
        "flagged": _flagged(truth, _flags(rows)) if "flagged" in rows.columns else None,
        "typology": _typologies(rows, values, curve, budgets) if "typology" in rows.columns else [],
        "members": _members(rows, truth),
        "curves": _curves(replicates),
    }


def _column(rows: pl.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in rows.columns:
        raise SchemaError(f"the scores have no column {name!r}; they have {', '.join(rows.columns)}")
    if not rows[name].dtype.is_numeric():
        raise SchemaError(f"column {name!r} of the scores is {rows[name].dtype}, expected numbers")
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _flags(rows: pl.DataFrame) -> NDArray[np.bool_]:
    return rows["flagged"].fill_null(False).cast(pl.Boolean).to_numpy()


def _counts(curve: RankCurve, matched: Matched) -> dict[str, Any]:
    n = curve.n_anomalous + curve.n_normal
    return {
        "n": n,
        "n_anomalous": curve.n_anomalous,
        "n_normal": curve.n_normal,
        "n_unknown": matched.n_unknown,
        "prevalence": curve.n_anomalous / n,
    }


def _rate(hits: float, n: int) -> dict[str, float]:
    low, high = clopper_pearson(hits, n)
    return {"value": hits / n if n else 0.0, "low": float(low), "high": float(high)}


def _budget(curve: RankCurve, rate: float) -> dict[str, Any]:
    at = at_budget(curve, rate)
    return {
        "rate": rate,
        "count": at.count,
        "found": at.found,
        "precision": _rate(at.found, at.count),
        "recall": _rate(at.found, curve.n_anomalous),
    }


def _flagged(truth: NDArray[np.int64], flagged: NDArray[np.bool_]) -> dict[str, Any]:
    found, count, n_anomalous = int((truth * flagged).sum()), int(flagged.sum()), int(truth.sum())
    return {
        "count": count,
        "found": found,
        "precision": _rate(found, count),
        "recall": _rate(found, n_anomalous),
        "false_positive_rate": _rate(count - found, len(truth) - n_anomalous),
        "f1": 2 * found / (count + n_anomalous),
    }


def _typologies(
    rows: pl.DataFrame, values: NDArray[np.float64], curve: RankCurve, budgets: Sequence[float]
) -> list[dict[str, Any]]:
    """Return one row per kind of anomaly: how much of it is caught, and how it ranks against all normal items."""
    normal = np.sort(values[rows["label"].to_numpy() == 0])
    cuts = {rate: _cut(curve, rate) for rate in budgets}
    places = rows.with_row_index("place").filter(pl.col("label") == 1)
    groups = places.group_by(pl.col("typology").cast(pl.String).fill_null("(none)")).agg("place").sort("typology")
    flagged = _flags(rows) if "flagged" in rows.columns else None
    result = []
    for name, place in groups.iter_rows():
        mine = values[place]
        row = {"typology": name, "n": len(mine), "auroc": _outranked(mine, normal)}
        found = {r: float((mine > cut).sum() + share * (mine == cut).sum()) for r, (cut, share) in cuts.items()}
        row["budgets"] = [{"rate": r, "recall": _rate(hits, len(mine))} for r, hits in found.items()]
        row["flagged"] = None if flagged is None else _rate(int(flagged[place].sum()), len(mine))
        result.append(row)
    return result


def _outranked(mine: NDArray[np.float64], normal_sorted: NDArray[np.float64]) -> float:
    """Return the AUROC of some anomalous items against all normal ones; a tie counts half."""
    below = np.searchsorted(normal_sorted, mine, "left") + np.searchsorted(normal_sorted, mine, "right")
    return float(below.mean() / (2 * len(normal_sorted)))


def _cut(curve: RankCurve, rate: float) -> tuple[float, float]:
    """Return the lowest score that is looked at within a budget, and the share of its tie that is."""
    count, total = at_budget(curve, rate).count, np.append(0, curve.found + curve.alarms)
    place = int(np.searchsorted(total, count))
    return float(curve.scores[place - 1]), float((count - total[place - 1]) / (total[place] - total[place - 1]))


def _members(rows: pl.DataFrame, truth: NDArray[np.int64]) -> list[dict[str, Any]]:
    result = []
    for name in (column for column in rows.columns if column.startswith(MEMBER)):
        one = rank_curve(truth, _column(rows, name))
        result.append(
            {
                "member": name.removeprefix(MEMBER),
                "auroc": float(area_under_roc(one.found, one.alarms)),
                "average_precision": float(area_under_steps(one.found, one.alarms)),
            }
        )
    return result


def _curves(replicates: Replicates) -> dict[str, Any]:
    """Return the two curves with their pointwise 95% bands, on grids that a page can draw."""
    recalls = np.linspace(0, 1, 101)
    rates = np.unique(np.concatenate([[0.0], np.geomspace(1e-4, 1, 61), np.linspace(0, 1, 41)]))
    roc, precision = roc_band(replicates, rates), precision_band(replicates, recalls)
    return {
        "roc": {"false_positive_rate": _plain(rates), **{k: _plain(v) for k, v in roc._asdict().items()}},
        "precision_recall": {"recall": _plain(recalls), **{k: _plain(v) for k, v in precision._asdict().items()}},
    }


def _plain(values: NDArray[np.float64]) -> list[float]:
    return [float(v) for v in values.round(6)]
