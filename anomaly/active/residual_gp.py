"""Closed-form regression of what the labels add to the unsupervised score, and a forest that the labels grow.

The process knows which items are alike, whatever the labels say, and leads from the first label; the forest learns
which columns matter, and comes in at ten. How far the score is to be believed is learnt as well: its slope is
uncertain, which is one more term of the kernel (Rasmussen and Williams 2006, equation 2.40), so that the score counts
for less where the odd turn out to be normal; the nearer `low` is to `high`, the sooner the search leaves its top. One
label is one step of a Cholesky factorisation: it costs a pass over the pool, whose length does not depend on what else
is known but for the factor's own rows.

Shapes: n items of the pool, l labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.kernel import ItemKernel
from anomaly.active.label_forest import LabelForest
from anomaly.active.records import Belief, Labels
from anomaly.base import Learner, seeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class ResidualGP(Learner):
    """A Gaussian process over (label - prior), whose prior mean is the calibrated score, plus the share of a forest.

    Parameters
    ----------
    kernel : how alike items are; `ItemKernel` unless stated
    noise : variance of a label of full confidence; one of confidence c has noise / c^2
    low, high : prior mean of the least and the most anomalous item; between the verdicts, so that a normal one lowers
        what is like it
    trust : standard deviation of the slope from the one to the other; 0 takes the score at its word
    forest : grown on the labels; `LabelForest` unless stated
    guided : what the forest's share counts; 0 leaves the process alone, in closed form
    """

    def __init__(
        self,
        *,
        kernel: ItemKernel | None = None,
        noise: float = 0.25,
        low: float = 0.1,
        high: float = 0.75,
        trust: float = 0.4,
        forest: LabelForest | None = None,
        guided: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.noise = noise
        self.low = low
        self.high = high
        self.trust = trust
        self.forest = forest
        self.guided = guided
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Grow the kernel's forests and read the pool's marks."""
        self.kernel_ = seeded(self.kernel or ItemKernel(), self.random_state).fit(X)
        self.forest_ = seeded(self.forest or LabelForest(), self.random_state).fit(X) if self.guided else None
        self.range_ = (float(X.scores.min(initial=0.0)), float(X.scores.max(initial=0.0)))
        self._pool = self.kernel_.marks(X)
        self._place = self._place_of(X)
        self._rows = np.zeros((0, len(X)), np.float32)
        self._labels = Labels.of()
        self._factor: list[tuple[float, float]] = []
        self._restart(0)
        self._keep()
        return self

    def update(self, labels: Labels) -> Self:
        """Keep the steps of the labels that are shared with those held before, and take the rest."""
        labels = labels.decided
        shared = self._labels.common(labels)
        if shared < len(self._labels):
            self._labels = labels[:shared]
            self._restart(shared)
        for k in range(shared, len(labels)):
            self._add(labels[k : k + 1])
        self._labels = labels
        self._keep()
        if self.forest_ is not None:
            self.forest_.update(labels)
        return self

    def belief(self) -> Belief:
        """Return the posterior mean and standard deviation of every item of the pool."""
        mean = self._mean.copy() if self.forest_ is None else self._mean + self.guided * self.forest_.pool()
        return Belief(mean, np.sqrt(np.maximum(self._variance, 0.0)))

    def score(self, X: Items) -> Floats:
        """Return (k,) the posterior mean of other items."""
        mean = self.low + self.slope_ * self._place_of(X)
        if self.forest_ is not None:
            mean += self.guided * self.forest_.score(X)
        if len(self.weights_):
            mean += self.kernel_.sums(self.weights_, self.labelled_, self.kernel_.marks(X))
        return mean

    def told(self) -> list[str]:
        """Return how far the score is still believed, once labels have told."""
        trusted = self.high - self.low
        if not len(self.weights_) or not trusted or not self.trust:
            return []
        return [f"the score without labels counts {self.slope_ / trusted:.0%} of what it did"]

    def _place_of(self, X: Items) -> Floats:
        """Return (k,) where the scores lie between the pool's least, 0, and its highest, 1."""
        low, high = self.range_
        return np.asarray(np.clip((X.scores - low) / max(high - low, 1e-12), 0.0, 1.0))

    def _restart(self, steps: int) -> None:
        """Go back to the prior and take the first steps again; their rows are known already."""
        self._mean = self.low + (self.high - self.low) * self._place
        self._variance = 1.0 + (self.trust * self._place) ** 2
        self._factor = self._factor[:steps]
        for k in range(steps):
            self._move(self._rows[k], self._factor[k])

    def _add(self, label: Labels) -> None:
        """Take one label: the row of the factor that it adds, and the step along it."""
        item, steps = int(label.items[0]), len(self._factor)
        row = self.kernel_.row(self._pool.take(label.items), self._pool)
        row += np.float32(self.trust**2 * self._place[item]) * self._place.astype(np.float32)
        if steps:
            row -= self._rows[:steps, item] @ self._rows[:steps]
        noise = self.noise / float(label.confidences[0]) ** 2
        root = np.sqrt(max(float(self._variance[item]), 0.0) + noise)
        step = (float(label.verdicts[0]) - float(self._mean[item])) / root
        row /= np.float32(root)
        self._reserve(steps + 1)
        self._rows[steps] = row
        self._factor.append((root, step))
        self._move(row, (root, step))

    def _move(self, row: NDArray[np.float32], factor: tuple[float, float]) -> None:
        self._mean += factor[1] * row
        self._variance -= np.square(row, dtype=np.float64)

    def _reserve(self, steps: int) -> None:
        """Make room for the rows, twice as much as before whenever it is used up."""
        if steps > len(self._rows):
            grown = np.zeros((max(2 * len(self._rows), 16), len(self._place)), np.float32)
            grown[: len(self._rows)] = self._rows
            self._rows = grown

    def _keep(self) -> None:
        """Keep what scores other items: the marks of the labelled ones, their weights, and the score's slope."""
        from scipy.linalg import solve_triangular

        items = self._labels.items
        self.labelled_ = self._pool.take(items)
        lower = np.tril(self._rows[: len(items), items].T.astype(np.float64), -1)
        lower[np.diag_indices(len(items))] = [root for root, _ in self._factor]
        steps = np.array([step for _, step in self._factor])
        self.weights_ = solve_triangular(lower.T, steps, lower=False) if len(items) else steps
        self.slope_ = self.high - self.low + self.trust**2 * float(self.weights_ @ self._place[items])
