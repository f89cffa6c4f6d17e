"""What the random audit tells of the whole pool: how many are anomalous, how many of them are found, when to stop.

Item i, drawn with chance q among those not yet judged, stands for 1 / q of them: what was found before plus y / q is an
unbiased estimate of the number of anomalies (Horvitz and Thompson 1952; for adaptive choice Farquhar et al. 2021).
What others hold at a draw cannot be drawn either, so that it counts as found before, once it is judged. What is skipped
or waits for a lead does not count until it is judged: where much is, and most of it anomalous, the estimate is low.

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
class Reach:
    """What could not be drawn when each judged item was.

    Attributes
    ----------
    gone : (l,) items that were judged by then or held by somebody else, of those that are judged by now
    found : (l,) the anomalous ones among them
    """

    gone: Floats
    found: Floats

    @classmethod
    def of(cls, verdicts: ArrayLike, annotators: list[str], taken: ArrayLike, chosen: ArrayLike) -> Reach:
        """Work it out for several annotators, each of whom may draw what they hold themselves and have not judged.

        Parameters
        ----------
        verdicts : (l,) 1 anomalous, others not
        annotators : l names of whom each item was chosen for
        taken : (l,) since when they held it, as any number that grows
        chosen : (l,) when it was chosen for them to judge, in the same numbers
        """
        y = (np.asarray(verdicts) == 1).astype(np.float64)
        who = np.unique(np.asarray(annotators, dtype=object).astype(str), return_inverse=True)[1]
        held, drawn = np.asarray(taken, np.float64), np.asarray(chosen, np.float64)
        gone = np.stack([_before(held, drawn, np.ones(len(y))), _before(held, drawn, y)])
        for one in range(int(who.max(initial=-1)) + 1):
            own = who == one
            for column, weight in enumerate((np.ones(int(own.sum())), y[own])):
                gone[column, own] += _before(drawn[own], drawn[own], weight) - _before(held[own], drawn[own], weight)
        return cls(*gone)

    @classmethod
    def alone(cls, y: Floats) -> Reach:
        """Return that of a single annotator without spares: what was judged before."""
        return cls(np.arange(len(y), dtype=np.float64), np.cumsum(y) - y)


def _before(events: Floats, moments: Floats, weight: Floats) -> Floats:
    """Return (l,) how much weight has an event before each moment."""
    order = np.argsort(events, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    return total[np.searchsorted(events[order], moments, side="left")]


@dataclass(frozen=True)
class Estimate:
    """What is known of a session.

    Attributes
    ----------
    n_items, n_labels, n_found, n_audited : counts
    precision : share of anomalous among the last `recent` labels; NaN without labels
    prevalence : estimate of the share of anomalous items, unbiased where nothing is put off; NaN without an audit
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
    reach: Reach | None = None,
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
    reach : what could not be drawn at each choice; what was judged before unless stated
    recall : it is time to stop when at least this share is found for certain
    patience : or when this many labels in a row found nothing, once anything was found
    level : of the interval
    """
    y = (np.asarray(verdicts) == 1).astype(np.float64)
    q = np.asarray(probabilities, np.float64)
    audit = np.isin(np.asarray(policies, dtype=object), AUDIT)
    found = int(y.sum())
    reach = reach or Reach.alone(y)
    prevalence = horvitz_thompson(n_items, y, q, reach) if audit.any() else float("nan")
    low, high = interval(n_items, y, audit, level, reach)
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


def horvitz_thompson(n_items: int, y: Floats, q: Floats, reach: Reach) -> float:
    """Return the mean over all drawn choices of (found before + y / q), as a share of the items; NaN without one.

    It is unbiased where every item that was open had a chance, as under `Audited` and `Random`; a choice that was
    certain left the others none.
    """
    known = np.isfinite(q) & (q > 0) & (q < 1)
    if not known.any():
        return float("nan")
    return float((reach.found + y / np.where(known, q, 1.0))[known].mean() / n_items)


def interval(n_items: int, y: Floats, audit: NDArray[np.bool_], level: float, reach: Reach) -> tuple[float, float]:
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
    open_ = n_items - reach.gone[audit]
    known, scale = float((reach.found[audit] / open_).mean()), float((1.0 / open_).mean())
    low, high = ((share + known) / scale / n_items for share in (low, high))
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


def _stop(y: Floats, sure: float, recall: float, patience: int) -> str:
    if y.any() and sure >= recall:
        return f"at least {sure:.0%} of the anomalies are found"
    if y.any() and len(y) >= patience and not y[-patience:].any():
        return f"the last {patience} labels found nothing"
    return ""
