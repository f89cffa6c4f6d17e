"""What labels add to the unsupervised score: a Gaussian process over (label - prior) that the unlabelled hold down.

A few labels say little about a few items and nothing about the rest. So the process also remembers a draw of
unlabelled items, its anchors, of which it is told, with much noise, that the prior is right about them: only what sets
the labelled apart from the crowd moves the ranking. Which ways of being alike matter is not chosen, which few labels
could not do, but averaged over.

It is the process of `anomaly.active.residual_gp` for labels that come all at once: that one takes a label in a step,
knows how sure it is of every item, and ranks the next question; this one weighs ways and anchors by hidden labels.

Shapes: n items, j remembered items (labels, then anchors), l labels, u items of the crowd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.linalg import solve

from anomaly.active.alike import near
from anomaly.active.likeness import Likeness
from anomaly.base import Estimator
from anomaly.metrics.ranking import average_precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Kernels = Mapping[str, Floats]

HEAD = "head"
"""The way of being alike that a fine-tuned network knows: its score."""
LOWEST = -0.25
"""Prior mean of the least anomalous item; that of the most anomalous one is 1 more."""
CROWD = 1000
"""Unlabelled items, neither labelled nor anchors, among which labelled ones have to be found."""
_OWN, _SHARED = 0.6, 0.4
"""Weights in a mixture of the way that it is named for, and of all ways evenly."""
_VARIANCES = (0.15, 1.0)
"""Of what the labels may add."""
_HEAD_CEILING = 4.0
"""Standard deviations beyond which the network's score is cut."""


@dataclass(frozen=True)
class Evidence:
    """How well labels that were hidden are ranked: mean of the average precisions among labels and in the crowd.

    Attributes
    ----------
    prior, posterior : without the other labels and with them
    """

    prior: float
    posterior: float


class LabelledPosterior(Estimator):
    """Rank items by the unsupervised score and the labels together.

    Parameters
    ----------
    noise : variance of a label
    anchors : unlabelled items that are remembered
    anchor_noises : variances with which the prior may be right about them; the one under which hidden labels are
        ranked best is taken, the first where none can be hidden

    Attributes
    ----------
    directions_ : by way of being alike, what a feature adds
    near_ : (j,) what each remembered item adds to what lies near it
    head_slope_ : what a network's score adds
    anchor_noise_ : the variance that was taken
    evidence_ : of the hidden labels, None where nothing could be hidden
    """

    def __init__(
        self,
        *,
        noise: float = 0.1,
        anchors: int = 500,
        anchor_noises: tuple[float, ...] = (6.0, 1.0, 0.2),
        random_state: int = 0,
    ) -> None:
        self.noise = noise
        self.anchors = anchors
        self.anchor_noises = anchor_noises
        self.random_state = random_state

    def fit(self, X: Items, y: Ints, head: Floats | None = None, folds: list[Ints] | None = None) -> Self:
        """Learn from labels 1 and 0; -1 is unknown.

        Parameters
        ----------
        head : (n,) a fine-tuned network's scores; of a labelled item by a copy that had not seen its label
        folds : labelled items that are hidden together when the labels judge
        """
        self.likeness_ = Likeness(random_state=self.random_state).fit(X)
        self.top_ = float(max(X.scores.max(initial=0.0), 1e-12))
        self.head_range_ = _range(head, y)
        labelled = np.flatnonzero(y >= 0)
        unknown = np.random.default_rng(self.random_state).permutation(np.flatnonzero(y < 0))
        self.n_labels_ = len(labelled)
        places = np.concatenate([labelled, unknown[: self.anchors + CROWD]])
        own = min(len(labelled) + self.anchors, len(places))
        looks, z = self.likeness_.read(X.take(places)), self._head(head, places)
        kernels = self.likeness_.between(looks, looks.take(np.arange(own)))
        kernels |= {} if head is None else {HEAD: np.outer(z, z[:own])}
        prior = self.prior(X.scores[places])
        remembered = looks.take(np.arange(own))
        hidden = [np.searchsorted(labelled, fold) for fold in folds or []]
        self.anchor_noise_, self.evidence_ = self.anchor_noises[0], None
        if hidden:
            tried = [self._judge(kernels, y[places], prior, own, hidden, noise) for noise in self.anchor_noises]
            best = int(np.argmax([evidence.posterior for evidence in tried]))
            self.anchor_noise_, self.evidence_ = self.anchor_noises[best], tried[best]
        square = {way: K[:own] for way, K in kernels.items()}
        duals = self._solve(square, y[places[:own]], prior[:own], self.anchor_noise_)
        self.points_, self.near_ = remembered.points_nd, duals.get("near", np.zeros(own))
        self.head_slope_ = float(z[:own] @ duals.get(HEAD, np.zeros(own)))
        # The sum over what is remembered is taken once: an item then costs its own features only.
        self.directions_ = {way: np.asarray(matrix.T @ duals[way]) for way, matrix in remembered.features.items()}
        return self

    def prior(self, scores: Floats) -> Floats:
        """Return (n,) what is believed before any label; the far tail counts by its logarithm."""
        prior: Floats = LOWEST + np.minimum(np.log1p(np.maximum(scores, 0.0)) / np.log1p(self.top_), 1.2)
        return prior

    def mean(self, X: Items, head: Floats | None = None) -> Floats:
        """Return (n,) the posterior mean, about 0 for normal and about 1 for anomalous."""
        looks, out = self.likeness_.read(X), self.prior(X.scores)
        for way, direction in self.directions_.items():
            out += np.asarray(looks.features[way] @ direction)
        if self.points_.shape[1]:
            out += near(looks.points_nd, self.points_) @ self.near_
        return out + self.head_slope_ * self._head(head, np.arange(len(X)))

    def _solve(
        self, kernels: Kernels, y_j: Ints, prior_j: Floats, anchor_noise: float, kept: Ints | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Return, by way, (j,) the duals averaged over mixtures of kernels; only what is kept is learnt from."""
        kept = np.arange(len(y_j)) if kept is None else kept
        residual = np.where(y_j >= 0, y_j - prior_j, 0.0)[kept]
        noise = np.where(y_j >= 0, self.noise, anchor_noise)[kept]
        square = {way: K[np.ix_(kept, kept)] for way, K in kernels.items()}
        mixtures = _mixtures(tuple(kernels))
        duals = {way: np.zeros(len(y_j)) for way in kernels}
        for mixture in mixtures:
            mixed = np.sum([weight * square[way] for way, weight in mixture.items()], axis=0) + np.diag(noise)
            dual = solve(mixed, residual, assume_a="pos")
            for way, weight in mixture.items():
                duals[way][kept] += weight * dual / len(mixtures)
        return duals

    def _judge(
        self, kernels: Kernels, y: Ints, prior: Floats, own: int, hidden: list[Ints], anchor_noise: float
    ) -> Evidence:
        """Hide the labels fold by fold and look where they are ranked."""
        mean, n = np.array(prior), self.n_labels_
        crowd, square = np.arange(own, len(y)), {way: K[:own] for way, K in kernels.items()}
        for fold in hidden:
            kept = np.setdiff1d(np.arange(own), fold)
            duals = self._solve(square, y[:own], prior[:own], anchor_noise, kept)
            added = np.sum([K @ duals[way] for way, K in kernels.items()], axis=0)
            mean[fold] += added[fold]
            mean[crowd] += added[crowd] / len(hidden)
        return Evidence(_precision(y, prior, n, crowd), _precision(y, mean, n, crowd))

    def _head(self, head: Floats | None, places: Ints) -> Floats:
        if head is None or self.head_range_ is None:
            return np.zeros(len(places))
        middle, unit = self.head_range_
        return np.clip((head[places] - middle) / unit, -_HEAD_CEILING, _HEAD_CEILING)


def _range(head: Floats | None, y: Ints) -> tuple[float, float] | None:
    """Return the middle and the spread of a network's score over the unlabelled."""
    if head is None:
        return None
    usual = head[y < 0] if (y < 0).any() else head
    return float(np.median(usual)), float(max(usual.std(), 1e-6))


def _mixtures(ways: tuple[str, ...]) -> list[dict[str, float]]:
    """Return mixtures of kernels: of all ways evenly, and of each with emphasis, little and much."""
    even = {way: 1.0 / len(ways) for way in ways}
    shapes = [even]
    for way in ways if len(ways) > 1 else ():
        shapes.append({name: _SHARED * share + _OWN * (name == way) for name, share in even.items()})
    return [{way: variance * share for way, share in shape.items()} for variance in _VARIANCES for shape in shapes]


def _precision(y: Ints, score: Floats, n: int, crowd: Ints) -> float:
    """Return the mean of the average precisions of labelled items among labelled ones and in the crowd."""
    among = average_precision(y[:n], score[:n])
    if not len(crowd):
        return among
    odd = np.flatnonzero(y[:n] == 1)
    truth = np.repeat([1, 0], [len(odd), len(crowd)])
    return 0.5 * (among + average_precision(truth, score[np.concatenate([odd, crowd])]))
