"""The network tuned on the labels, in a process beside the session; another learner ranks, and goes on ranking.

Not a pure fold: what ranks depends on when a tuning ends. No verdict waits for one, and a tuning that fails changes
nothing.

Shapes: n items of the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from anomaly.active.records import Belief, Labels
from anomaly.active.residual_gp import ResidualGP
from anomaly.base import Learner, seeded
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


class Tuning(Protocol):
    """A tuning that has begun."""

    def ended(self) -> bool:
        """Return whether it has come to its end, well or not."""

    def wait(self) -> None:
        """Return when it has ended."""

    def posterior(self) -> Floats | None:
        """Return (n,) the tuned posterior of the pool; None where hidden labels do not speak for it."""

    def end(self) -> None:
        """End it where it still runs; nothing is left of it."""


class Tuner(Protocol):
    """What tunes the network of a run in a process of its own."""

    def begin(self, ids: pl.Series, labels: Labels, seed: int) -> Tuning:
        """Begin to tune on labels of items of the pool, whose ids are given."""


class BackgroundTuning(Learner):
    """Rank by another learner, and let a network that is tuned meanwhile have its say.

    It has a say where its cross-fitted evidence is that hidden labels are ranked better with it. New events are ranked
    by the other learner alone; a network that ranks those as well is what `anomaly finetune` writes.

    Parameters
    ----------
    tuner : tunes the network of the run whose items are ranked
    learner : ranks; `ResidualGP` unless stated
    first, growth : labels at which the network is tuned first, and then whenever they are that many times as many
    weight : what the tuned posterior, from 0 to 1, counts beside the other learner's
    wait : let a label wait for the tuning that it starts, as a replay must

    Attributes
    ----------
    tuned_ : number of labels that the network which has a say has learnt from; 0 where none has
    """

    tuned_: int
    _next: int
    """Labels at which the network is tuned next."""

    def __init__(
        self,
        *,
        tuner: Tuner | None = None,
        learner: Learner | None = None,
        first: int = 30,
        growth: float = 2.0,
        weight: float = 1.0,
        wait: bool = False,
        random_state: int = 0,
    ) -> None:
        self.tuner = tuner
        self.learner = learner
        self.first = first
        self.growth = growth
        self.weight = weight
        self.wait = wait
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Fit the other learner.

        Raises
        ------
        ConfigError
            If there is no tuner, as the rows of a table have no network.
        """
        if self.tuner is None:
            raise ConfigError("learner=deep tunes the network of a run, and here is none; choose another learner")
        self.learner_ = seeded(self.learner or ResidualGP(), self.random_state).fit(X)
        self._ids = X.ids
        self._job: Tuning | None = None
        self._forget()
        return self

    def update(self, labels: Labels) -> Self:
        """Let the other learner hold the labels, hear a tuning that has ended, and begin one when it is due."""
        labels = labels.decided
        self.learner_.update(labels)
        self.hear()
        if len(labels) < self.tuned_:
            self._forget()
        due = len(labels) >= self._next and len(np.unique(labels.verdicts)) == 2
        if self._job is None and self.tuner is not None and due:
            self._next = max(int(len(labels) * self.growth), len(labels) + 1)
            self._job, self._n_learnt = self.tuner.begin(self._ids, labels, self.random_state), len(labels)
            if self.wait:
                self._job.wait()
                self.hear()
        return self

    def hear(self) -> None:
        """Take the posterior of a tuning that has ended, if hidden labels speak for it."""
        if self._job is None or not self._job.ended():
            return
        found = self._job.posterior()
        self._job.end()
        self._job = None
        if found is not None:
            self._posterior, self.tuned_ = found, self._n_learnt

    def belief(self) -> Belief:
        """Return what the other learner holds, and the tuned posterior beside it."""
        held = self.learner_.belief()
        return held if not self.tuned_ else Belief(held.mean + self.weight * self._posterior, held.std, held.votes)

    def score(self, X: Items) -> Floats:
        """Return (k,) the posterior that the other learner gives other items."""
        return np.asarray(self.learner_.score(X))

    def told(self) -> list[str]:
        """Return whether a tuned network has a say, and what the other learner says."""
        network = [f"the network, tuned on {self.tuned_} labels, has a say"] if self.tuned_ else []
        return [*network, *self.learner_.told()]

    def _forget(self) -> None:
        self.tuned_, self._posterior = 0, np.zeros(len(self._ids))
        self._next = self.first
