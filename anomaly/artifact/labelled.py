"""A ranking that labels have moved: the ensemble's calibrated score, the network tuned on the labels, the posterior.

Shapes: T events, N sequences, n items (sequences, or the reported events where these are ranked).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from scipy.special import expit
from sklearn.base import clone

from anomaly.active.posterior import LabelledPosterior
from anomaly.artifact.items import items_of
from anomaly.base import Estimator, Progress, Statistics, silent
from anomaly.models.finetune import make_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.detectors.finetuned import FineTunedDetector
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.ensemble.scored import Scored
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STEEPNESS = 4.0
"""A logistic curve this steep is the posterior mean itself near one half."""


class LabelledRanking(Estimator):
    """Rank what an ensemble has scored by what labels say of it.

    Where hidden labels are ranked no better than without the others, the ranking stays the unsupervised one.

    Parameters
    ----------
    network : the detector to be tuned, None where only the posterior learns
    posterior : joins everything
    folds : parts of the labels, each judged by what was not shown it

    Attributes
    ----------
    network_, posterior_ : fitted
    heard_ : whether the network has a say in the ranking
    helps_ : whether the labels move the ranking
    n_labels_ : (anomalous, normal)
    """

    def __init__(
        self,
        *,
        network: FineTunedDetector | None = None,
        posterior: LabelledPosterior | None = None,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.posterior = posterior
        self.folds = folds
        self.random_state = random_state

    def fit(
        self,
        ensemble: CalibratedEnsemble,
        X: SequenceStore,
        scored: Scored,
        y: Ints,
        progress: Progress = silent,
    ) -> Self:
        """Learn from labels of the items of a store that the ensemble has scored without labels.

        Parameters
        ----------
        y : (n,) 1, 0, or -1 for unknown
        """
        X = ensemble.seen(X)
        items = pool(ensemble, X, scored)
        folds = make_folds(y, self.folds, self.random_state)
        self.n_labels_ = (int((y == 1).sum()), int((y == 0).sum()))
        head, self.heard_ = self._tune(ensemble, X, scored, y, folds, progress), False
        progress("ranking")
        self.posterior_ = self._posterior(items, y, None, folds)
        if head is not None:
            self._hear_network(self._posterior(items, y, head, folds))
        evidence = self.posterior_.evidence_
        self.helps_ = evidence is not None and evidence.posterior > evidence.prior
        self._calibrate(ensemble, self._mean(X, items, scored), y)
        return self

    def _posterior(self, items: Items, y: Ints, head: Floats | None, folds: list[Ints]) -> LabelledPosterior:
        posterior: LabelledPosterior = clone(self.posterior or LabelledPosterior(random_state=self.random_state))
        return posterior.fit(items, y, head, folds)

    def _hear_network(self, joined: LabelledPosterior) -> None:
        """Let the network have a say in the ranking where hidden labels are ranked better with it."""
        alone = self.posterior_.evidence_
        self.heard_ = bool(alone and joined.evidence_ and joined.evidence_.posterior > alone.posterior)
        if self.heard_:
            self.posterior_ = joined

    def rank(self, ensemble: CalibratedEnsemble, X: SequenceStore, scored: Scored) -> Scored:
        """Return the scores with the posterior, and with score and p-value that follow it where the labels help."""
        items = pool(ensemble, X, scored)
        if not self.helps_:
            return replace(scored, posterior=_squashed(self.posterior_.prior(items.scores)))
        mean = self._mean(X, items, scored)
        p_value = self.calibrator_.p_values(Statistics.single(mean), np.ones(len(mean), np.int64))[:, 0]
        return replace(scored, score=-np.log10(p_value), p_value=p_value, posterior=_squashed(mean))

    def _mean(self, X: SequenceStore, items: Items, scored: Scored) -> Floats:
        head = (
            None if self.network_ is None or not self.heard_ else self.network_.decision_function(X)[_places(X, scored)]
        )
        mean: Floats = self.posterior_.mean(items, head)
        return mean

    def _tune(
        self,
        ensemble: CalibratedEnsemble,
        X: SequenceStore,
        scored: Scored,
        y: Ints,
        folds: list[Ints],
        progress: Progress,
    ) -> Floats | None:
        """Tune the network, and return its scores: of labelled items by copies that had not seen their labels."""
        self.network_ = None
        trained = next((d for d in ensemble.bank_.trained_members.values() if hasattr(d, "model_")), None)
        if self.network is None or trained is None or not folds:
            return None
        places = _places(X, scored)
        size = X.n_events if scored.item_event is not None else len(X)
        whole = np.full(size, -1, np.int64)
        whole[places] = y
        self.network_ = clone(self.network).set_params(unit="sequence" if scored.item_event is None else "event")
        self.network_.fit(X, whole, trained=trained, folds=[places[fold] for fold in folds], progress=progress)
        if self.network_.head_ is None:
            self.network_ = None
            return None
        head = self.network_.decision_function(X)[places]
        hidden = self.network_.out_of_fold_[places]
        # What the detector was tuned from is in the run already, and what was hidden has been used.
        self.network_.set_params(detector=None)
        del self.network_.out_of_fold_
        shown: Floats = np.where(np.isfinite(hidden), hidden, head)
        return shown

    def _calibrate(self, ensemble: CalibratedEnsemble, mean: Floats, y: Ints) -> None:
        """Learn what the posterior is of items not known to be odd."""
        usual = mean[y != 1]
        # One bucket, whatever the lengths: the score has to follow the posterior.
        bucket = np.ones(len(usual), np.int64)
        self.calibrator_ = clone(ensemble.calibrator).fit(Statistics.single(usual), bucket)
        self.reference_p_values_ = self.calibrator_.p_values(Statistics.single(usual), bucket)[:, 0]


def pool(ensemble: CalibratedEnsemble, X: SequenceStore, scored: Scored) -> Items:
    """Return what was scored as items."""
    places = _places(X, scored)
    unit = "sequence" if scored.item_event is None else "event"
    ids = X.sequence_ids if unit == "sequence" else pl.Series(places)
    columns = {f"score.{name}": scored.member_scores[:, k] for k, name in enumerate(scored.member_names)}
    frame = pl.DataFrame({"id" if unit == "event" else "sequence": ids, "score": scored.score, **columns})
    return items_of(X, frame, ensemble, unit)


def _places(X: SequenceStore, scored: Scored) -> Ints:
    return np.arange(len(X)) if scored.item_event is None else scored.item_event


def _squashed(mean: Floats) -> Floats:
    found: Floats = expit(STEEPNESS * (mean - 0.5))
    return found
