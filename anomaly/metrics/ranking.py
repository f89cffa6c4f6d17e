"""How well a score ranks the anomalous above the normal.

Shapes: n items, c distinct scores. Ties are one step of the curve: neither order within a tie is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RankCurve:
    """What is caught at every distinct score, from the highest down.

    Attributes
    ----------
    scores : (c,) distinct scores, descending
    found : (c,) anomalous items that score at least this
    alarms : (c,) normal items that score at least this
    """

    scores: NDArray[np.float64]
    found: NDArray[np.int64]
    alarms: NDArray[np.int64]

    @property
    def n_anomalous(self) -> int:
        """Number of anomalous items."""
        return int(self.found[-1])

    @property
    def n_normal(self) -> int:
        """Number of normal items."""
        return int(self.alarms[-1])


@dataclass(frozen=True)
class AtCount:
    """What is caught when the `count` highest scores are looked at; fractions of a tie count in expectation."""

    count: int
    found: float
    precision: float
    recall: float


def rank_curve(labels: ArrayLike, scores: ArrayLike) -> RankCurve:
    """Count what is caught at every distinct score.

    Parameters
    ----------
    labels : (n,) 1 anomalous, 0 normal
    scores : (n,) finite, higher is more anomalous

    Raises
    ------
    DataError
        If the two differ in length, a score is not finite, or a label is neither 0 nor 1, or only one class is there.
    """
    truth, values = _checked(labels, scores)
    order = np.argsort(-values)
    truth, values = truth[order], values[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    found = np.cumsum(truth)[last_of_tie]
    return RankCurve(values[last_of_tie], found, last_of_tie + 1 - found)


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the chance that an anomalous item outranks a normal one; a tie counts half."""
    curve = rank_curve(labels, scores)
    return float(area_under_roc(curve.found, curve.alarms))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the precision averaged over the steps of recall; a tie is one step."""
    curve = rank_curve(labels, scores)
    return float(area_under_steps(curve.found, curve.alarms))


def at_count(curve: RankCurve, count: int) -> AtCount:
    """Return precision and recall among the `count` highest scores; at least one and at most all are looked at."""
    total = curve.n_anomalous + curve.n_normal
    count = min(max(int(count), 1), total)
    # A straight line within a tie is the expectation over every order of it.
    found = float(np.interp(count, np.append(0, curve.found + curve.alarms), np.append(0, curve.found)))
    return AtCount(count, found, found / count, found / curve.n_anomalous)


def at_budget(curve: RankCurve, rate: float) -> AtCount:
    """Return precision and recall when the share `rate` of all items is looked at, rounded up."""
    total = curve.n_anomalous + curve.n_normal
    return at_count(curve, int(np.ceil(rate * total - 1e-9)))


def area_under_roc(found: NDArray[Any], alarms: NDArray[Any]) -> NDArray[np.float64]:
    """Return the (...,) area under the curves whose cumulated counts are (..., c)."""
    widths = np.diff(alarms, axis=-1, prepend=0)
    heights = found - 0.5 * np.diff(found, axis=-1, prepend=0)
    area: NDArray[np.float64] = (widths * heights).sum(axis=-1) / (found[..., -1] * alarms[..., -1].astype(float))
    return area


def area_under_steps(found: NDArray[Any], alarms: NDArray[Any]) -> NDArray[np.float64]:
    """Return the (...,) average precision of the curves whose cumulated counts are (..., c)."""
    precision = found / np.maximum(found + alarms, 1)
    area: NDArray[np.float64] = (np.diff(found, axis=-1, prepend=0) * precision).sum(axis=-1) / found[..., -1]
    return area


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth, values = np.asarray(labels), np.asarray(scores, np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise DataError(f"labels have shape {truth.shape}, scores {values.shape}; give two columns of equal length")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite numbers")
    if not np.isin(truth, (0, 1)).all():
        odd = truth[~np.isin(truth, (0, 1))][0]
        raise DataError(f"label {odd!s}: a ranking is judged on labels 0 and 1; leave unknown rows (-1) out")
    n_anomalous = int(truth.sum())
    if n_anomalous in (0, len(truth)):
        raise DataError(
            f"{n_anomalous} anomalous and {len(truth) - n_anomalous} normal items: a ranking needs some of both; "
            "label the others, 1 anomalous, 0 normal; labels_unmatched=normal of anomaly evaluate takes them for normal"
        )
    return truth.astype(np.int64), values
