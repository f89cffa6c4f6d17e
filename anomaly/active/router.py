"""From one learner to the next, as the labels themselves show which ranks hidden labels best.

Shapes: n items of the pool, l labels, s items of the trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np

from anomaly.active.records import Belief, Labels
from anomaly.base import Learner, seeded
from anomaly.metrics.ranking import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class Router(Learner):
    """Rank by the first learner until another has ranked hidden labels better.

    Whenever the labels have doubled, each learner ranks every fifth of them by the other four, among a draw of unknown
    items. A learner takes over if it was better by more than one standard error of the difference. Where hardly a
    label is normal nothing is compared: the present one finds what it is asked for, and to rank hidden anomalies above
    a thousand others says little of a large pool.

    Parameters
    ----------
    learners : name to learner; the first begins
    first : labels at which they are compared for the first time
    folds : parts of the labels; as many must be normal, so that there is one for each
    crowd : unknown items among which hidden labels are ranked

    Attributes
    ----------
    chosen_ : name of the learner that ranks
    evidence_ : one row per comparison: the number of labels, the winner, and the mean figure of each learner
    """

    def __init__(
        self,
        *,
        learners: Mapping[str, Learner],
        first: int = 25,
        folds: int = 5,
        crowd: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.learners = learners
        self.first = first
        self.folds = folds
        self.crowd = crowd
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Fit the learner that begins; the others when they are needed."""
        self._pool = X
        self._fitted: dict[str, Learner] = {}
        self._found: dict[int, tuple[Labels, dict[str, Floats]]] = {}
        return self.update(Labels.of())

    def update(self, labels: Labels) -> Self:
        """Compare at every doubling that the labels have come to, and let the winner learn from all."""
        known = labels.decided
        self.chosen_ = next(iter(self.learners))
        self.evidence_: list[dict[str, float | str]] = []
        count = self.first
        while count <= len(known):
            enough = int((known[:count].verdicts == 0).sum()) >= self.folds
            figures = self._figures(known[:count]) if enough else {}
            # Without an anomalous label there is nothing to be found.
            if len(figures.get(self.chosen_, ())):
                self.chosen_ = _winner(self.chosen_, figures)
                row: dict[str, float | str] = {"labels": count, "chosen": self.chosen_}
                row |= {name: float(np.mean(values)) for name, values in figures.items()}
                self.evidence_.append(row)
            count *= 2
        if self.chosen_ not in self._fitted:
            self._fitted[self.chosen_] = self._fresh(self.chosen_).fit(self._pool)
        self.learner_ = self._fitted[self.chosen_].update(labels)
        return self

    def belief(self) -> Belief:
        """Return what the chosen learner holds."""
        return self.learner_.belief()

    def score(self, X: Items) -> Floats:
        """Return (k,) the posterior that the chosen learner gives other items."""
        return self.learner_.score(X)

    def told(self) -> list[str]:
        """Return who leads, how hidden labels were ranked by each when they were last compared, and what it says."""
        why = (
            f"no other compared yet: that is at {self.first} labels and at every doubling, {self.folds} of them normal"
        )
        if self.evidence_:
            last = self.evidence_[-1]
            figures = ", ".join(f"{name} {last[name]:.3f}" for name in self.learners)
            why = f"average precision of hidden labels, {last['labels']} given: {figures}"
        return [f"{self.chosen_} leads ({why})", *self.learner_.told()]

    def _figures(self, labels: Labels) -> dict[str, Floats]:
        """Return each learner's average precision in every fold, once for the same labels."""
        before = self._found.get(len(labels))
        if before is not None and before[0].common(labels) == len(labels):
            return before[1]
        figures = self._compare(labels)
        self._found[len(labels)] = (labels, figures)
        return figures

    def _compare(self, labels: Labels) -> dict[str, Floats]:
        # Of an item that was judged again the last verdict counts.
        items, latest = np.unique(labels.items[::-1], return_index=True)
        last = len(labels) - 1 - latest
        rng = np.random.default_rng([self.random_state, len(labels)])
        unknown = np.setdiff1d(rng.permutation(len(self._pool))[: self.crowd + len(items)], items)[: self.crowd]
        trial = self._pool.take(np.concatenate([items, unknown]))
        # Dealt in turn in the order of asking, so that every fold has early and late labels.
        fold = last.argsort(kind="stable").argsort() % self.folds
        truth = np.concatenate([labels.verdicts[last], np.zeros(len(unknown), np.int64)])
        place = np.searchsorted(items, labels.items)
        figures: dict[str, list[float]] = {name: [] for name in self.learners}
        for name in self.learners:
            learner = self._fresh(name).fit(trial)
            for k in range(self.folds):
                shown = fold[place] != k
                asked = np.concatenate([fold == k, np.ones(len(unknown), np.bool_)])
                if not truth[asked].any():
                    continue
                told = Labels(place[shown], labels.verdicts[shown], labels.confidences[shown])
                figures[name].append(average_precision(truth[asked], learner.update(told).rank()[asked]))
        return {name: np.array(values) for name, values in figures.items()}

    def _fresh(self, name: str) -> Learner:
        learner: Learner = seeded(self.learners[name], self.random_state)
        return learner


def _winner(now: str, figures: dict[str, Floats]) -> str:
    """Return the best learner, if it leads the present one by more than a standard error, else the present one."""
    best = max(figures, key=lambda name: float(figures[name].mean()))
    lead = figures[best] - figures[now]
    error = float(lead.std(ddof=1) / np.sqrt(len(lead))) if len(lead) > 1 else float("inf")
    return best if float(lead.mean()) > error else now
