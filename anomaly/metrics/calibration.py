"""Whether p-values mean what they say: uniform on items that are normal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import kolmogorov

from anomaly.errors import DataError
from anomaly.metrics.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

NOMINAL_RATES = (0.001, 0.01, 0.05, 0.1)


def uniformity(p_values: ArrayLike, *, rates: Sequence[float] = NOMINAL_RATES) -> dict[str, Any]:
    """Compare p-values of normal items with the uniform law they promise.

    Parameters
    ----------
    p_values : (n,) in [0, 1], of items that the calibration has not seen

    Returns
    -------
    dict
        ``n``; ``ks``, the largest distance between the two distribution functions, and ``ks_p_value`` (asymptotic);
        ``rates``, one row per nominal rate with the share of p-values at most that, its exact 95% interval, and
        whether the interval holds the nominal rate.

    Raises
    ------
    DataError
        If there is no p-value, or one lies outside [0, 1].
    """
    p = np.sort(np.asarray(p_values, np.float64))
    if len(p) == 0 or not (np.isfinite(p).all() and p[0] >= 0 and p[-1] <= 1):
        raise DataError(f"expected p-values in [0, 1], got {len(p)} values" + (f" up to {p[-1]:g}" if len(p) else ""))
    distance = ks_distance(p)
    return {
        "n": len(p),
        "ks": distance,
        "ks_p_value": float(kolmogorov(np.sqrt(len(p)) * distance)),
        "rates": [_rate(p, rate) for rate in rates],
    }


def ks_distance(p_sorted: ArrayLike) -> float:
    """Return the Kolmogorov-Smirnov distance of sorted p-values from the uniform law."""
    p = np.asarray(p_sorted, np.float64)
    steps = np.arange(len(p) + 1) / len(p)
    return float(max(np.max(steps[1:] - p), np.max(p - steps[:-1])))


def _rate(p_sorted: Any, nominal: float) -> dict[str, Any]:
    n = len(p_sorted)
    hits = int(np.searchsorted(p_sorted, nominal, side="right"))
    low, high = clopper_pearson(hits, n)
    return {
        "nominal": nominal,
        "observed": hits / n,
        "low": float(low),
        "high": float(high),
        "holds": bool(low <= nominal <= high),
    }
