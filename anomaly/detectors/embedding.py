"""Embeddings as a detector: how far a sequence lies from the usual ones, and from its entity's own.

Shapes: N sequences, E entities, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from anomaly.base import Statistics
from anomaly.detectors.trained import TrainedDetector
from anomaly.models.objectives import EMBEDDING_MODELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.models.base import SequenceNetwork
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

PRIOR = 2.0
"""Sequences of the population that an entity's own centre counts for."""


class EmbeddingDetector(TrainedDetector):
    """Score sequences by where a model embeds them; single events have no score.

    `objective="contrastive"` measures in units of the spread of the training embeddings (Mahalanobis), "one_class" in
    those of the latent space, around the centre that it was trained for. Where entities have several sequences each,
    "contrast" is the squared distance to the entity's own centre in units of the spread within entities, less that to
    the population's. Parameters are those of `TrainedDetector`.

    Attributes
    ----------
    mean_, precision_ : of the training embeddings
    centres_, within_ : (E, D) of the entities, and the precision within them; empty where there is no contrast
    """

    def decision_function(self, X: SequenceStore) -> Floats:
        """Return (N,) the squared distance from the usual."""
        return self.statistics(X).values[:, 0]

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the distance from the usual, and the contrast between the own and the usual."""
        self._check_fitted()
        embedding_ND = self.embed(X).astype(np.float64)
        columns = {"distance": self._distance(embedding_ND)}
        if len(self.centres_):
            columns["contrast"] = self._contrast(embedding_ND, X.entity)
        return Statistics(np.column_stack(list(columns.values())), tuple(columns))

    @torch.inference_mode()
    def embed(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (N, D), one vector per sequence."""
        mean_ND = torch.from_numpy(self._embed(X)).to(self.model_.device)
        settled: NDArray[np.float32] = self.model_.settle(mean_ND).cpu().numpy()
        return settled

    def _model_class(self) -> type[SequenceNetwork]:
        return EMBEDDING_MODELS[self.objective]

    def _learn_scores(self, X: SequenceStore) -> None:
        embedding_ND = self.embed(X).astype(np.float64)
        self.mean_, self.precision_ = embedding_ND.mean(axis=0), _precision(embedding_ND)
        self.centres_, self.within_ = np.zeros((0, len(self.mean_))), np.zeros((0, 0))
        count_E = np.bincount(X.entity, minlength=X.n_entities)
        several_N = (count_E[X.entity] > 1) & (X.entity > 0)
        if not several_N.any():
            return
        total_ED = np.zeros((X.n_entities, len(self.mean_)))
        np.add.at(total_ED, X.entity, embedding_ND)
        self.centres_ = (total_ED + PRIOR * self.mean_) / (count_E + PRIOR)[:, None]
        self.centres_[0] = self.mean_
        # Around their own mean few sequences seem closer together than they are.
        own_ND = (total_ED / np.maximum(count_E, 1)[:, None])[X.entity]
        spread_ND = (embedding_ND - own_ND) * np.sqrt(count_E / np.maximum(count_E - 1, 1))[X.entity, None]
        self.within_ = _precision(spread_ND[several_N])

    def _distance(self, embedding_ND: Floats) -> Floats:
        if self.objective == "one_class":
            distance: Floats = np.square(embedding_ND).mean(axis=1)
            return distance
        return _mahalanobis(embedding_ND - self.mean_, self.precision_)

    def _contrast(self, embedding_ND: Floats, entity_N: NDArray[np.int32]) -> Floats:
        """Return (N,) by how much the own centre is further than the population's; 0 where no entity is known."""
        own_N = _mahalanobis(embedding_ND - self.centres_[entity_N], self.within_)
        contrast: Floats = np.where(entity_N > 0, own_N - _mahalanobis(embedding_ND - self.mean_, self.precision_), 0.0)
        return contrast


def _precision(x_ND: Floats) -> Floats:
    """Return the inverse of the shrunk covariance (Ledoit & Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf

    width = x_ND.shape[1]
    covariance = ledoit_wolf(x_ND)[0] if len(x_ND) > 1 else np.eye(width)
    # Embeddings that are all one point still leave a distance.
    floor = max(1e-6 * float(np.trace(covariance)) / width, 1e-12)
    precision: Floats = np.linalg.inv(covariance + floor * np.eye(width))
    return precision


def _mahalanobis(x_ND: Floats, precision_DD: Floats) -> Floats:
    distance: Floats = np.einsum("nd,de,ne->n", x_ND, precision_DD, x_ND, optimize=True) / x_ND.shape[1]
    return distance
