"""The unsupervised score on a scale of its own pool, the same for items that come later.

Shapes: n items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KNOTS = 1024


class TailEvidence(Estimator):
    """-log10 of the share of the pool that scores at least as high; beyond the pool's own maximum it goes on rising."""

    def fit(self, x: Floats) -> Self:
        """Learn the pool's quantiles, closely spaced at the top."""
        ordered = np.sort(x)[::-1]
        places = np.unique(np.geomspace(1, max(len(x), 1), KNOTS).astype(np.int64)) - 1
        # Of equal scores the last place counts: that many score at least as high.
        knots, last = np.unique(ordered[places][::-1], return_index=True)
        self.knots_ = knots
        self.values_ = -np.log10((places[::-1][last] + 0.5) / len(x)) if len(x) else np.zeros(0)
        return self

    def transform(self, x: Floats) -> Floats:
        """Return (n,) evidence, 0 and up."""
        if len(self.knots_) < 2:
            return np.zeros(len(x))
        evidence = np.interp(x, self.knots_, self.values_)
        beyond = np.maximum(x - self.knots_[-1], 0.0) / max(self.knots_[-1] - self.knots_[0], 1e-12)
        return np.asarray(np.maximum(evidence, 0.0) + beyond)
