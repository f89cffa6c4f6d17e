"""Shapley values of the members that read features: the slower cross-check of `anomaly.explain.features`.

Shapes: n rows, K features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.base import FeatureMatrix
from anomaly.errors import AnomalyError
from anomaly.explain.features import feature_parts
from anomaly.explain.story import CrossCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly.base import Detector
    from anomaly.explain.explainer import EnsembleExplainer, Reasoned

    Floats = NDArray[np.float64]

BACKGROUND = 20
"""Usual rows whose values stand in for those of a feature that is left out."""
TOLD = 5
"""Features of each member that are named."""


def shapley_values(member: Detector, X: FeatureMatrix, usual: FeatureMatrix) -> Floats:
    """Return (n, K) what each feature adds to a member's score, against rows that are usual.

    One random order of the features, there and back, for each row: exact where they act alone or in pairs.

    Raises
    ------
    AnomalyError
        If the package shap is missing.

    Notes
    -----
    Source: Lundberg & Lee 2017, eq. 4, by the permutations of Strumbelj & Kononenko 2014.
    """
    try:
        import shap
    except ImportError as error:
        raise AnomalyError("the cross-check needs the package shap: pip install 'anomaly[explain]'") from error

    def score(values: NDArray[Any]) -> Floats:
        return member.decision_function(FeatureMatrix(np.asarray(values, np.float32), X.names))

    masker = shap.maskers.Independent(usual.values, max_samples=len(usual.values))
    explainer = shap.PermutationExplainer(score, masker, seed=0)
    found: Floats = explainer(X.values, max_evals=2 * len(X.names) + 1, silent=True).values
    return found


def cross_checks(explainer: EnsembleExplainer, e: Reasoned) -> Iterator[list[CrossCheck]]:
    """Yield, for every explained item, what Shapley values say of each member that reads features."""
    if e.features is None:
        yield from ([] for _ in range(len(e.store)))
        return
    bank = explainer.ensemble.bank_
    sample = explainer.reference.sample
    drawn = sample.take(np.linspace(0, len(sample) - 1, min(BACKGROUND, len(sample))).astype(np.int64))
    usual = bank.features(drawn, bank.embedding(drawn, {}))
    found = {
        name: (_shares(m, e.features), shapley_values(m, e.features, usual)) for name, m in bank.table_members_.items()
    }
    names = np.array([explainer.feature_name(name) for name in e.features.names])
    for n in range(len(e.store)):
        yield [_checked(member, names, own[n], shap[n]) for member, (own, shap) in found.items()]


def _shares(member: Detector, X: FeatureMatrix) -> Floats:
    """Return (n, K) the share of each feature in a member's score, the mean over its statistics."""
    parts = [weight for weight, _ in feature_parts(member, X).values()]
    shares: Floats = np.mean([w / np.maximum(w.sum(axis=1, keepdims=True), 1e-300) for w in parts], axis=0)
    return shares


def _checked(member: str, names: NDArray[np.str_], own: Floats, shap: Floats) -> CrossCheck:
    parts, shapley = _largest(names, own), _largest(names, shap)
    agreement = len(parts.keys() & shapley.keys()) / max(len(parts.keys() | shapley.keys()), 1)
    return CrossCheck(member, parts, shapley, agreement)


def _largest(names: NDArray[np.str_], values: Floats) -> dict[str, float]:
    return {str(names[k]): float(values[k]) for k in np.argsort(-values, kind="stable")[:TOLD] if values[k] > 0}
