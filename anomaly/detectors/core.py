"""Detectors on a table that are not taught by the anomalies in it.

Shapes: n rows, k columns, m members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from anomaly.base import Detector, FeatureMatrix, Statistics
from anomaly.detectors.table import TablePreparer
from anomaly.errors import ConfigError, DataError
from anomaly.scores.calibration import upper_p, with_tail

Float = NDArray[np.float64]


class CoreDetector(Detector):
    """A few detectors of different kinds, some of them taught only by the rows that the others find usual.

    Anomalies that come in numbers are each other's neighbours and widen the columns' tails, so that they hide each
    other. Isolation in small samples suffers least from that (Liu et al. 2008). So members of that kind learn from all
    rows; those rows that look oddest to them are left out, as in the fast minimum covariance determinant (Rousseeuw
    and Van Driessen 1999), and the members named in `on_core` learn from the rest, the core.

    The score is the mean over members of ``-log p``, each p-value taken among the fitted rows.

    Parameters
    ----------
    members : name to detector on features
    on_core : names of the members that learn from the core; not all of them
    keep : share of the rows that are the core; 0.75 is what that source advises where most rows are sound
    """

    def __init__(
        self,
        *,
        members: Mapping[str, Detector],
        on_core: Sequence[str] = (),
        keep: float = 0.75,
        contamination: float = 0.01,
    ) -> None:
        self.members = members
        self.on_core = on_core
        self.keep = keep
        self.contamination = contamination

    def fit(self, X: FeatureMatrix, y: NDArray[np.int64] | None = None) -> Self:
        """Fit some members on all rows, and the others on the core.

        Raises
        ------
        ConfigError
            If `on_core` names no member, or all of them.
        """
        if not len(X):
            raise DataError("no row to learn from; give at least one")
        unknown = sorted(set(self.on_core) - set(self.members))
        if unknown:
            raise ConfigError(f"on_core={unknown[0]}: there is no such member; there are {', '.join(self.members)}")
        if not set(self.members) - set(self.on_core):
            raise ConfigError("on_core names every member; one at least must learn from all rows and tell the core")
        self.prepare_ = TablePreparer(scaling="standard").fit(X)
        rows = self.prepared(X)
        fitted = {name: clone(m).fit(rows) for name, m in self.members.items() if name not in self.on_core}
        if self.on_core:
            kept = self._core(rows, fitted)
            fitted |= {name: clone(self.members[name]).fit(kept) for name in self.on_core}
        self.members_ = {name: fitted[name] for name in self.members}
        self._set_reference(self._raw(rows))
        return self._set_scores(X)

    def decision_function(self, X: FeatureMatrix) -> Float:
        """Return (n,) the mean over members of ``-log p``."""
        evidence: Float = self._evidence(self.statistics(X).values).mean(axis=1)
        return evidence

    def statistics(self, X: FeatureMatrix) -> Statistics:
        """Return the score of every member."""
        self._check_fitted()
        return Statistics(self._raw(self.prepared(X)), tuple(self.members_))

    def prepared(self, X: FeatureMatrix) -> FeatureMatrix:
        """Return the rows as the members read them: filled, in standard units."""
        return FeatureMatrix(self.prepare_.transform(X), tuple(self.prepare_.names_), X.keys)

    def _core(self, rows: FeatureMatrix, fitted: dict[str, Detector]) -> FeatureMatrix:
        """Return the rows that look least odd."""
        scores = np.stack([member.decision_scores_ for member in fitted.values()], axis=1)
        self._set_reference(scores)
        consensus = self._evidence(scores).mean(axis=1)
        size = max(int(self.keep * len(rows)), min(len(rows), 2))
        return rows.take(np.sort(np.argsort(consensus, kind="stable")[:size]))

    def _set_reference(self, raw_nm: Float) -> None:
        nulls = [with_tail(column) for column in raw_nm.T]
        self.references_, self.tails_ = [reference for reference, _ in nulls], [tail for _, tail in nulls]

    def _evidence(self, raw_nm: Float) -> Float:
        each = zip(raw_nm.T, self.references_, self.tails_, strict=True)
        return np.stack([-np.log(upper_p(column, *null)) for column, *null in each], axis=1)

    def _raw(self, rows: FeatureMatrix) -> Float:
        return np.stack([member.decision_function(rows) for member in self.members_.values()], axis=1)
