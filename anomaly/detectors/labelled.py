"""A table of which a few rows are labelled and the rest are unknown.

Shapes: n rows, k columns, m statistics of the prior.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from anomaly.base import Detector, FeatureMatrix
from anomaly.detectors.table import TablePreparer
from anomaly.errors import DataError
from anomaly.scores.calibration import upper_p, with_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]


class LabelledForest(Detector):
    """A forest that tells known anomalies from the rest, on the columns and on what an unsupervised detector says.

    Rows of unknown state are no normal rows: each counts the less the odder the prior finds it, since hidden anomalies
    are among the odd (positive and unlabelled learning, Elkan and Noto 2008). The score is the mean of the forest's and
    the prior's ``-log p``; with a anomalies labelled the forest weighs ``a / (a + patience)``. Without any it is the
    prior's alone.

    Parameters
    ----------
    prior : detector on features that learns without labels
    trees : of the forest
    leaf : rows of a leaf, at least
    patience : labelled anomalies at which forest and prior weigh the same
    """

    uses_labels = True

    def __init__(
        self,
        *,
        prior: Detector,
        trees: int = 200,
        leaf: int = 2,
        patience: float = 1.0,
        contamination: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.prior = prior
        self.trees = trees
        self.leaf = leaf
        self.patience = patience
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: FeatureMatrix, y: NDArray[np.int64] | None = None) -> Self:
        """Fit the prior on all rows, and the forest where an anomaly is labelled; `y` in {1, 0, -1}."""
        if y is not None and len(y) != len(X):
            raise DataError(f"{len(y)} labels for {len(X)} rows; give one for each, -1 where it is unknown")
        self.prior_ = clone(self.prior).fit(X)
        self.prior_reference_ = with_tail(self.prior_.decision_scores_)
        self.prepare_ = TablePreparer(scaling="none").fit(X)
        labels = np.full(len(X), -1) if y is None else np.asarray(y)
        found = int((labels == 1).sum())
        self.weight_ = found / (found + self.patience) if found and found < len(X) else 0.0
        self.forest_: Any = None
        if self.weight_ > 0:
            self._grow(X, labels)
        return self._set_scores(X)

    def decision_function(self, X: FeatureMatrix) -> Float:
        """Return (n,) the weighted mean of both kinds of evidence."""
        self._check_fitted()
        prior = _evidence(self.prior_.decision_function(X), self.prior_reference_)
        if self.forest_ is None or not len(X):
            return prior
        odds = self.forest_.predict_proba(self._columns(X))[:, 1]
        return self.weight_ * _evidence(odds, self.forest_reference_) + (1 - self.weight_) * prior

    def _grow(self, X: FeatureMatrix, labels: NDArray[np.int64]) -> None:
        odd = _evidence(self.prior_.decision_scores_, self.prior_reference_)
        anomalous = labels == 1
        weight = np.where(labels == 0, 1.0, np.exp(-np.maximum(odd - np.median(odd), 0.0)))
        # As much on the few as on the many.
        weight[anomalous] = weight[~anomalous].sum() / anomalous.sum()
        forest = RandomForestClassifier(
            n_estimators=self.trees, min_samples_leaf=self.leaf, oob_score=True, random_state=self.random_state
        )
        with warnings.catch_warnings():
            # Of few trees some rows are in all; they count as usual below.
            warnings.simplefilter("ignore", UserWarning)
            self.forest_ = forest.fit(self._columns(X), anomalous, sample_weight=weight)
        # The scale of the odds is that of rows that a tree has not seen.
        unseen = np.nan_to_num(forest.oob_decision_function_[:, 1])
        self.forest_reference_ = with_tail(np.asarray(unseen, np.float64))

    def _columns(self, X: FeatureMatrix) -> NDArray[np.float32]:
        own = self.prepare_.transform(X)
        return np.concatenate([own, self.prior_.statistics(X).values], axis=1, dtype=np.float32)


def _evidence(scores: Float, reference: tuple[Float, Float]) -> Float:
    evidence: Float = -np.log(upper_p(np.asarray(scores, np.float64), *reference))
    return evidence
