"""What the random audit tells of the whole pool: how many are anomalous, how many of them are found, when to stop.

Item i, drawn with chance q among those not yet judged, stands for 1 / q of them: what was found before plus y / q is an
unbiased estimate of the number of anomalies (Horvitz and Thompson 1952; for adaptive choice Farquhar et al. 2021).
What others hold at a draw can neither be drawn nor is it judged: several annotators on a small pool, the most anomalous
of which is on their screens, put the estimate a little low (by a tenth for six with two spares each, among 400 items),
well within its interval. A draw that is skipped or waits for a lead counts once it is judged.

Shapes: l judged items, in the order in which they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anomaly.metrics.intervals import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

AUDIT = ("audit", "random")
"""Policies that draw evenly from all items that are open."""


@dataclass(frozen=True)
class Estimate:
    """What is known of a session.

    Attributes
    ----------
    n_items, n_labels, n_found, n_audited : counts
    precision : share of anomalous among the last `recent` labels; NaN without labels
    prevalence : estimate of the share of anomalous items, unbiased but for what others hold; NaN without an audit
    low, high : interval of the prevalence
    recall_low : share of the anomalies found already, at least
    stop : reason why it is time to stop, "" while it is not
    """

    n_items: int
    n_labels: int
    n_found: int
    n_audited: int
    precision: float
    prevalence: float
    low: float
    high: float
    recall_low: float
    stop: str


def progress(
    n_items: int,
    verdicts: ArrayLike,
    probabilities: ArrayLike,
    policies: list[str] | tuple[str, ...],
    *,
    recall: float = 0.9,
    patience: int = 50,
    level: float = 0.95,
    recent: int = 20,
) -> Estimate:
    """Return what verdicts say of the pool.

    Parameters
    ----------
    verdicts : (l,) 1 anomalous, 0 normal, -1 unsure, which counts as not anomalous
    probabilities : (l,) chance of each choice, as `Choice` has it; NaN where nobody chose
    policies : l names of what chose
    recall : it is time to stop when at least this share is found for certain
    patience : or when this many labels in a row found nothing, once anything was found
    level : of the interval
    """
    y = (np.asarray(verdicts) == 1).astype(np.float64)
    q = np.asarray(probabilities, np.float64)
    audit = np.isin(np.asarray(policies, dtype=object), AUDIT)
    found = int(y.sum())
    prevalence = horvitz_thompson(n_items, y, q) if audit.any() else float("nan")
    low, high = interval(n_items, y, audit, level)
    most = max(high * n_items, found)
    sure = found / most if most else 0.0
    return Estimate(
        n_items=n_items,
        n_labels=len(y),
        n_found=found,
        n_audited=int(audit.sum()),
        precision=float(y[-recent:].mean()) if len(y) else float("nan"),
        prevalence=prevalence,
        low=low,
        high=high,
        recall_low=sure,
        stop=_stop(y, sure, recall, patience),
    )


def horvitz_thompson(n_items: int, y: Floats, q: Floats) -> float:
    """Return the mean over all drawn choices of (found before + y / q), as a share of the items; NaN without one.

    It is unbiased where every item that was open had a chance, as under `Audited` and `Random`; a choice that was
    certain left the others none.
    """
    known = np.isfinite(q) & (q > 0) & (q < 1)
    if not known.any():
        return float("nan")
    before = np.cumsum(y) - y
    return float((before + y / np.where(known, q, 1.0))[known].mean() / n_items)


def interval(n_items: int, y: Floats, audit: NDArray[np.bool_], level: float) -> tuple[float, float]:
    """Return the interval of the share of anomalous items that the audited ones allow.

    Each is an even draw from what was open then, whose share of anomalies is (all - found before) / open. A binomial
    with their mean has no lighter tails than their sum (Hoeffding 1956), so its exact interval (Clopper and Pearson
    1934) holds.
    """
    found, judged = float(y.sum()), len(y)
    least, most = found / n_items, (n_items - (judged - found)) / n_items
    k, m = float(y[audit].sum()), int(audit.sum())
    if not m:
        return least, most
    low, high = map(float, clopper_pearson(k, m, level=level))
    open_ = n_items - np.flatnonzero(audit)
    before = (np.cumsum(y) - y)[audit]
    known, scale = float((before / open_).mean()), float((1.0 / open_).mean())
    low, high = ((share + known) / scale / n_items for share in (low, high))
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


def _stop(y: Floats, sure: float, recall: float, patience: int) -> str:
    if y.any() and sure >= recall:
        return f"at least {sure:.0%} of the anomalies are found"
    if y.any() and len(y) >= patience and not y[-patience:].any():
        return f"the last {patience} labels found nothing"
    return ""
