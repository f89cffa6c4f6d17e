"""Contracts that every room keeps.

In: nothing but numpy and scikit-learn's manners.
Out: `Detector`, `EventDetector`, `ScoreCalibrator`, `ScoreCombiner`, `Learner`, `QueryStrategy`, and the plain records
they exchange; those of the last two are in `anomaly.active.records`.

Every fitted object is its constructor's keyword arguments plus the attributes that end in ``_``: that, and
nothing else, is what an artifact keeps. Higher is more anomalous, everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from anomaly.errors import ConfigError, NotFittedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.active.records import Belief, Choice, Labels
    from anomaly.sequences.store import SequenceStore

Tail = Literal["upper", "both"]


class Progress(Protocol):
    """Whoever is told how far some work is."""

    def __call__(self, what: str, done: int | None = None, total: int | None = None, /) -> object:
        """Hear what begins now and, where steps are counted, how many are done and how many there are in all."""


def silent(what: str, done: int | None = None, total: int | None = None, /) -> None:
    """Tell nobody how far some work is."""


THRESHOLD_ROWS = 10_000
"""Fitted rows that a detector scores for its threshold, at most."""


@dataclass(frozen=True)
class FeatureMatrix:
    """Rows of named float32 features.

    Attributes
    ----------
    values : (n, k) float32
        NaN where a feature does not exist.
    names : k names, unique
    keys : (n,) uint64, optional
        Digest of each row's content; equal keys mean the same row. Neighbour detectors leave a row's own copy in the
        reference set out by it.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    keys: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.int64]) -> FeatureMatrix:
        """Return some of the rows, in that order."""
        return FeatureMatrix(self.values[rows], self.names, None if self.keys is None else self.keys[rows])


@dataclass(frozen=True)
class Statistics:
    """Raw statistics of the scored items: one column is one candidate member of the ensemble.

    Attributes
    ----------
    values : (n, m) float64, finite
    names : m names, unique; "" stands for the detector itself
    tails : m of "upper" (large is odd) or "both" (large and small are odd)
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    tails: tuple[Tail, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.tails:
            object.__setattr__(self, "tails", ("upper",) * len(self.names))

    def column(self, name: str) -> NDArray[np.float64]:
        """Return (n,) one statistic; ConfigError where there is none of that name."""
        if name not in self.names:
            raise ConfigError(f"statistic {name!r} is none of {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]

    @classmethod
    def single(cls, values: NDArray[np.float64]) -> Statistics:
        """Return one statistic (n,), that of the detector itself."""
        return cls(values[:, None], ("",))

    @classmethod
    def concat(cls, blocks: list[Statistics]) -> Statistics:
        """Lay the same statistics of consecutive blocks of items end to end."""
        return cls(np.concatenate([b.values for b in blocks]), blocks[0].names, blocks[0].tails)


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types; this is where it enters.
    """Whatever is built from keyword arguments alone and keeps what it learns in attributes that end in ``_``."""


def seeded(estimator: Any, seed: int) -> Any:
    """Return a copy that is not fitted, with its random state set where it has one."""
    fresh = clone(estimator)
    return fresh.set_params(random_state=seed) if "random_state" in fresh.get_params(deep=False) else fresh


class Detector(Estimator, ABC):
    """Score items; scikit-learn's manners, PyOD's names.

    Attributes
    ----------
    decision_scores_ : (n,) float64
        Scores of the rows given to `fit`, as `decision_function` returns them for these rows; of the held-out rows
        alone where a detector calibrates on such. Of many rows they are computed when they are read.
    threshold_ : float
        Quantile ``1 - contamination`` of `decision_scores_`, or of those of some rows where there are many.

    A fit that ends in ``return self._set_scores(X)`` sets both.
    """

    reads: ClassVar[Literal["sequences", "features"]] = "features"
    """What `X` is: a `SequenceStore`, or a `FeatureMatrix`."""

    uses_labels: ClassVar[bool] = False

    threshold_: float

    @abstractmethod
    def fit(self, X: Any, y: NDArray[np.int64] | None = None) -> Self:
        """Learn what is usual; `y` in {1, 0, -1}, -1 unknown, is ignored where `uses_labels` is False."""

    @abstractmethod
    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return (n,) float64 finite scores, higher is more anomalous."""

    def statistics(self, X: Any) -> Statistics:
        """Return every statistic of the items; one column, the score itself, unless a detector offers more."""
        return Statistics.single(self.decision_function(X))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return 1 where the score exceeds `threshold_`, else 0."""
        self._check_fitted()
        return (self.decision_function(X) > self.threshold_).astype(np.int64)

    @property
    def decision_scores_(self) -> NDArray[np.float64]:
        """(n,) scores of the rows given to `fit`."""
        if "decision_scores_" not in self.__dict__:
            if "_unscored" not in self.__dict__:
                raise AttributeError("decision_scores_ are those of a fit, and were not kept in the file")
            self.decision_scores_ = self.decision_function(self.__dict__.pop("_unscored"))
        scores: NDArray[np.float64] = self.__dict__["decision_scores_"]
        return scores

    @decision_scores_.setter
    def decision_scores_(self, scores: NDArray[np.float64]) -> None:
        self.__dict__["decision_scores_"] = scores

    def _set_scores(self, X: Any) -> Self:
        """Set the threshold that follows from `contamination`, and the scores where these are few."""
        n, some = len(X), X
        self.__dict__.pop("decision_scores_", None)
        self._unscored = X
        if n > THRESHOLD_ROWS:
            rng = np.random.default_rng(getattr(self, "random_state", 0))
            some = X.take(np.sort(rng.choice(n, THRESHOLD_ROWS, replace=False)))
        scores = self.decision_scores_ if some is X else self.decision_function(some)
        self.threshold_ = float(np.quantile(scores, 1 - getattr(self, "contamination", 0.01)))
        return self

    def _check_fitted(self) -> None:
        if not any(name.endswith("_") and not name.startswith("_") for name in vars(self)):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")


@dataclass(frozen=True)
class Analysis:
    """All that one pass of an event detector yields.

    Attributes
    ----------
    statistics : of the N sequences
    fields_TF : (T, F) evidence per event and field
    event_statistics : of the T events
    embedding_ND : (N, D) float32, or None where the detector has none
    """

    statistics: Statistics
    fields_TF: NDArray[np.float32]
    event_statistics: Statistics
    embedding_ND: NDArray[np.float32] | None = None


class EventDetector(Detector):
    """A detector that also scores single events."""

    reads = "sequences"

    names_: list[str]
    """Names of the columns of `score_fields`, unless a detector tells them in another way."""

    @abstractmethod
    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) evidence per event and field, in the order of `field_names`."""

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the F columns of `score_fields`."""
        self._check_fitted()
        return tuple(self.names_)

    def score_events(self, X: SequenceStore) -> NDArray[np.float64]:
        """Return (T,) evidence per event: the sum over its fields."""
        evidence: NDArray[np.float64] = self.score_fields(X).sum(axis=1, dtype=np.float64)
        return evidence

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return the statistics of every event, for runs in which the event is the item."""
        return Statistics.single(self.score_events(X))

    def embed(self, X: SequenceStore) -> NDArray[np.float32] | None:
        """Return (N, D), one vector per sequence, or None where the detector has none."""
        return None

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return statistics, fields and event statistics together; override where one pass yields them all."""
        return Analysis(self.statistics(X), self.score_fields(X), self.event_statistics(X))


class ScoreCalibrator(Estimator, ABC):
    """Raw statistics to p-values."""

    @abstractmethod
    def fit(self, statistics: Statistics, lengths: NDArray[np.int64]) -> Self:
        """Learn the null distribution from held-out items; `lengths` (n,) names each item's bucket."""

    @abstractmethod
    def p_values(self, statistics: Statistics, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, m) p-values in (0, 1]; small is anomalous."""


class ScoreCombiner(Estimator, ABC):
    """Many p-values to one evidence.

    Attributes
    ----------
    weights_ : (m,) what each statistic counts, summing to 1
    """

    weights_: NDArray[np.float64]

    @abstractmethod
    def fit(
        self,
        P_nm: NDArray[np.float64],
        P_corrupted: NDArray[np.float64] | None = None,
        kinds: NDArray[np.int64] | None = None,
        *,
        questions: NDArray[np.int64] | None = None,
    ) -> Self:
        """Learn weights from held-out p-values and, where given, from those of corrupted items and their kinds.

        Parameters
        ----------
        questions : (m,) which question each statistic asks; None means that all ask the same
        """

    @abstractmethod
    def combine(self, P_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n,) evidence, higher is more anomalous."""

    def contributions(self, P_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, m) what each statistic adds to the evidence: rows sum to `combine`.

        In proportion to weight times ``-log p``, which is exact where the evidence is their sum.
        """
        return spread(-np.log(P_nm) * self.weights_, self.combine(P_nm), self.weights_)


def spread(
    part_nm: NDArray[np.float64], total_n: NDArray[np.float64], fallback_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return parts (n, m) scaled so that each row sums to its total; a row of noughts is shared out as `fallback_m`."""
    sums = part_nm.sum(axis=1, keepdims=True)
    share_nm = np.where(sums > 0, part_nm / np.where(sums > 0, sums, 1.0), fallback_m / fallback_m.sum())
    scaled: NDArray[np.float64] = share_nm * total_n[:, None]
    return scaled


@dataclass(frozen=True)
class Explanation:
    """Why sequences score as they do: their evidence, split three ways.

    Attributes
    ----------
    evidence_n : (n,) combined evidence, of which the score is a monotone function
    statistics : m names
    statistic_nm : (n, m) what each statistic adds; rows sum to the evidence
    exact_m : (m,) bool, whether a statistic is a sum over events and fields, so that its split over them is exact;
        where it is not, it is carried by the events that decide it
    fields : F names; "gap" is the time since the previous event, "end" where the sequence ends, "whole" what belongs
        to no single event, and is spread evenly over all
    part_TF : (T, F) the same evidence by event and field; each sequence's parts sum to its evidence
    offsets : (n + 1,) the events of each sequence
    """

    evidence_n: NDArray[np.float64]
    statistics: tuple[str, ...]
    statistic_nm: NDArray[np.float64]
    exact_m: NDArray[np.bool_]
    fields: tuple[str, ...]
    part_TF: NDArray[np.float64]
    offsets: NDArray[np.int64]

    @property
    def event_T(self) -> NDArray[np.float64]:
        """(T,) what each event adds."""
        total: NDArray[np.float64] = self.part_TF.sum(axis=1)
        return total


class Explainer(Estimator, ABC):
    """Split the evidence of sequences into parts that sum to it."""

    @abstractmethod
    def explain(self, X: Any, indices: Any = None) -> Explanation:
        """Explain the sequences at some places of a store; all of them where none are named."""


class Learner(Estimator, ABC):
    """Move the unsupervised ranking of a pool of items by the labels of some of them.

    The belief is a pure function of the items and the list of labels: replaying the list gives the same floats, and
    leaving a label out is what undoes it.
    """

    @abstractmethod
    def fit(self, X: Items) -> Self:
        """Learn from the pool whatever needs no label; forget the labels."""

    @abstractmethod
    def update(self, labels: Labels) -> Self:
        """Hold these labels and no others; what is shared with the labels held before need not be learnt again."""

    @abstractmethod
    def belief(self) -> Belief:
        """Return what is held of every item of the pool."""

    @abstractmethod
    def score(self, X: Items) -> NDArray[np.float64]:
        """Return (k,) the posterior of other items, from what the artifact keeps: no pool is needed."""

    def rank(self) -> NDArray[np.float64]:
        """Return (n,) the posterior of the pool, higher is more anomalous."""
        return self.belief().mean

    def told(self) -> list[str]:
        """Return what the labels have decided within the learner, a line each; nothing where that is one curve."""
        return []


class QueryStrategy(Estimator, ABC):
    """Choose the items that an analyst judges next."""

    @abstractmethod
    def query(
        self, scores: Belief, X: Items, labels: Labels, n: int, *, open_: NDArray[np.bool_], rng: np.random.Generator
    ) -> Choice:
        """Choose at most `n` items.

        Parameters
        ----------
        open_ : (N,) whether an item may be chosen: neither judged already nor on another analyst's screen
        rng : of what is left to chance
        """
