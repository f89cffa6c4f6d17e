"""One cell: a competitor on a data set, under a seed and a label budget; and the row that comes of it.

Shapes: n scored items.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.errors import AnomalyError, DataError
from anomaly.metrics.intervals import bootstrap_auroc, bootstrap_average_precision, resample
from anomaly.metrics.ranking import area_under_roc, area_under_steps, at_budget, rank_curve

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from anomaly.sweeps.competitors import Competitor, Outcome
    from anomaly.sweeps.datasets import DataSet

    Build = Callable[[dict[str, Any]], Any]
    Row = dict[str, Any]

BUDGET = 0.01
"""Share of the items that is looked at."""


@dataclass(frozen=True)
class Cell:
    """What is run, and under which code.

    Attributes
    ----------
    name : the competitor; what stands before a dot is its group (``pyod.lof``)
    config : how it is built
    seed : None where nothing in the cell is random, so that one run tells all
    labels : share of the anomalous rows that are labelled; None for no label
    code : digest of the sources that the figures rest on
    versions : of the packages that the competitor does not find in this environment
    """

    name: str
    config: dict[str, Any]
    data: DataSet
    seed: int | None
    labels: float | None
    code: str
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the digest of all that decides the figures; the name is none of it."""
        told = [self.config, self.data.name, self.data.fingerprint, self.data.rows, self.seed, self.labels, self.code]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def group(self) -> str:
        """Return the competitor's group, "own" where its name has none."""
        return self.name.partition(".")[0] if "." in self.name else "own"

    def facts(self) -> Row:
        """Return what is known before the cell is run."""
        return {
            "key": self.key,
            "set": self.data.name,
            "kind": self.data.kind,
            "competitor": self.name,
            "group": self.group,
            "seed": self.seed,
            "labels": self.labels,
            "fingerprint": self.data.fingerprint,
            "rows": self.data.rows,
            "code": self.code,
            "config": json.dumps(self.config, sort_keys=True),
            "floors": json.dumps(self.data.floors),
        }


def run_cell(cell: Cell, build: Build) -> Row:
    """Return the figures of a cell; what a competitor or a data set does wrong is a row with its reason.

    Out of memory is not caught here: whoever sets the limit says so.
    """
    begun = time.perf_counter()
    try:
        row = {"status": "ok", **_figures(cell, build(cell.config))}
    except MemoryError:
        raise
    except AnomalyError as error:
        row = {"status": "failed", "reason": _line(error)}
    except Exception as error:
        row = {"status": "failed", "reason": f"{type(error).__name__}: {_line(error)}"}
    row["seconds"] = round(time.perf_counter() - begun, 3)
    row["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    return row


def _figures(cell: Cell, competitor: Competitor) -> Row:
    task = cell.data.task(cell.seed or 0, cell.labels)
    outcome = competitor.compete(task)
    ids = task.ids if outcome.ids is None else outcome.ids
    _check(outcome, ids)
    # Only now, with the scores there, is the truth read.
    truth = cell.data.truth(ids)
    known = truth >= 0
    return {
        **judge(truth[known], outcome.scores[known]),
        "n_unknown": int((~known).sum()),
        "repeats": task.repeats(),
        **{f"{part}_seconds": float(outcome.seconds.get(part, 0.0)) for part in ("prepare", "fit", "score")},
        "members": json.dumps(_members(truth[known], {k: v[known] for k, v in outcome.members.items()})),
        "notes": json.dumps(outcome.notes),
    }


def judge(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> Row:
    """Return AUROC, average precision with 95% intervals, and precision and recall within the budget.

    Raises
    ------
    DataError
        If only one class is there.
    """
    n_anomalous = int(truth.sum())
    if n_anomalous in (0, len(truth)):
        raise DataError(
            f"{n_anomalous} anomalous and {len(truth) - n_anomalous} normal of the scored items: a figure needs both"
        )
    curve = rank_curve(truth, scores)
    drawn = resample(curve, n_bootstrap=200)
    auroc, precision = bootstrap_auroc(curve, drawn), bootstrap_average_precision(curve, drawn)
    at = at_budget(curve, BUDGET)
    found = {
        **{"auroc": auroc.value, "auroc_low": auroc.low, "auroc_high": auroc.high},
        **{"ap": precision.value, "ap_low": precision.low, "ap_high": precision.high},
        **{"precision": at.precision, "recall": at.recall, "prevalence": float(truth.mean())},
    }
    return {k: round(v, 6) for k, v in found.items()} | {"n": len(truth), "n_anomalous": n_anomalous}


def _check(outcome: Outcome, ids: pl.Series) -> None:
    if outcome.scores.shape != (len(ids),):
        raise DataError(f"{outcome.scores.shape} scores for {len(ids)} items")
    wrong = int((~np.isfinite(outcome.scores)).sum())
    if wrong:
        raise DataError(f"{wrong} of {len(ids)} scores are NaN or infinite")


def _members(truth: NDArray[np.int64], members: dict[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    found = {}
    for name, scores in members.items():
        curve = rank_curve(truth, scores)
        areas = area_under_roc(curve.found, curve.alarms), area_under_steps(curve.found, curve.alarms)
        found[name] = [round(float(area), 5) for area in areas]
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
