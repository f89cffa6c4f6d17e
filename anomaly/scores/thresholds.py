"""Scores and p-values to decisions: which items are flagged.

A policy learns from a run's held-out reference items. What it flags then never depends on what else is in the
file, except under `FalseDiscoveryRate` and under `Budget` with a count: their `depends_on_file` says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from anomaly.base import Estimator
from anomaly.errors import ConfigError, DataError, NotFittedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAIL_SHARE, TAIL_LEAST = 0.1, 10


class ThresholdPolicy(Estimator, ABC):
    """Decide which items are flagged; it may be changed after training without refit.

    Attributes
    ----------
    threshold_ : float
        Score above which an item is flagged (at which, too, under a rule on p-values); NaN where the file decides.
    n_reference_ : int
        Number of held-out items it was fitted on.
    """

    name: ClassVar[str]
    """The policy's name on the command line."""

    threshold_: float
    n_reference_: int

    def fit(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> Self:
        """Learn from the scores and p-values, each (n,), of the run's held-out reference items.

        Raises
        ------
        ConfigError
            If a setting is out of its range.
        DataError
            If there is no reference item, or a score or p-value is not finite.
        """
        self.check()
        scores, p_values = _pair(scores, p_values)
        if not len(scores):
            raise DataError("no held-out item to learn a threshold from; train on more sequences")
        self.n_reference_ = len(scores)
        self.threshold_ = self._learn(scores, p_values)
        return self

    def flag(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n,) whether each item is flagged."""
        if not hasattr(self, "threshold_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")
        return self._decide(*_pair(scores, p_values))

    def why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        """Return why none of some items is flagged, as a line for people; nothing where one is."""
        scores, p_values = _pair(scores, p_values)
        if self.flag(scores, p_values).any():
            return ""
        return self._why_none(scores, p_values) if len(scores) else "nothing was scored"

    @property
    def depends_on_file(self) -> bool:
        """Whether an item's flag depends on the other items it is flagged with."""
        return False

    def summary(self) -> dict[str, Any]:
        """Return the policy's name, its settings and what it learnt, as plain values."""
        settings = {name: value for name, value in self.get_params().items() if value is not None}
        learnt = {"threshold": self.threshold_, "n_reference": self.n_reference_}
        return {"policy": self.name, **settings, **learnt, "depends_on_file": self.depends_on_file}

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range, as `fit` does."""

    @abstractmethod
    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        """Return the threshold on the score that the reference items imply."""

    @abstractmethod
    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n,) decisions."""

    def _why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        """Say why no item is flagged, where there are some."""
        return f"the highest score, {scores.max():.3f}, does not pass the threshold, {self.threshold_:.3f}"


class Budget(ThresholdPolicy):
    """Flag the share, or the number, of items that there are hands to look at.

    Parameters
    ----------
    rate : float
        Expected share of alerts among new items that are like the reference items. Past the last reference score
        the tail is taken as exponential (the limit of Pickands, Balkema and de Haan, with shape 0).
    count : int, optional
        Flag this many of a file's items instead, the highest scores; of equal scores, the earlier row.
    """

    name = "budget"

    def __init__(self, *, rate: float = 0.01, count: int | None = None) -> None:
        self.rate = rate
        self.count = count

    @property
    def depends_on_file(self) -> bool:
        """True with a count: the other items of the file decide what is among the highest."""
        return self.count is not None

    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range."""
        _check_rate("threshold.rate", self.rate)
        if self.count is not None and not (_is_real(self.count) and self.count == int(self.count) >= 0):
            raise ConfigError(f"threshold.count={self.count!r}: expected a whole number, 0 or more")

    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        return upper_quantile(scores, self.rate) if self.count is None else float("nan")

    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self.count is None:
            return scores > self.threshold_
        flagged = np.zeros(len(scores), np.bool_)
        flagged[np.argsort(-scores, kind="stable")[: self.count]] = True
        return flagged

    def _why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        if self.count is not None:
            return f"threshold.count={self.count}"
        why, needed = super()._why_none(scores, p_values), int(np.ceil(1 / self.rate)) - 1
        if self.n_reference_ < needed:
            why += (
                f"; of {self.n_reference_} held-out items none marks a rate of {self.rate:g} ({needed:,} would), so "
                "it lies beyond them all; threshold=budget threshold.count=N flags the N highest whatever they score"
            )
        return why


class FalsePositiveRate(ThresholdPolicy):
    """Flag normal items at most at this rate: the p-value is at most `rate`."""

    name = "fpr"

    def __init__(self, *, rate: float = 0.01) -> None:
        self.rate = rate

    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range."""
        _check_rate("threshold.rate", self.rate)

    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        return float(-np.log10(self.rate))

    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return p_values <= self.rate

    def _why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        return _smallest(p_values, self.rate)


class FalseDiscoveryRate(ThresholdPolicy):
    """Keep the expected share of normal items among the flagged of a file at most at `rate`.

    Parameters
    ----------
    rate : float
    storey : float, optional
        Estimate the share of normal items from the p-values above this value, which flags more where much is
        anomalous (Storey 2002; the version of Storey, Taylor and Siegmund 2004 that keeps the promise).

    Notes
    -----
    Benjamini and Hochberg 1995; that it holds for conformal p-values, which share their reference items, is
    Theorem 2 of Bates, Candes, Lei, Romano and Sesia 2023.
    """

    name = "fdr"

    def __init__(self, *, rate: float = 0.1, storey: float | None = None) -> None:
        self.rate = rate
        self.storey = storey

    @property
    def depends_on_file(self) -> bool:
        """True: the share of normal items among the flagged is a property of the file."""
        return True

    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range."""
        _check_rate("threshold.rate", self.rate)
        if self.storey is not None:
            _check_rate("threshold.storey", self.storey)

    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        return float("nan")

    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        n = len(p_values)
        rate = self.rate / self._normal_share(p_values)
        ordered = np.sort(p_values)
        passing = np.flatnonzero(ordered <= rate * np.arange(1, n + 1) / max(n, 1))
        if not len(passing):
            return np.zeros(n, np.bool_)
        cut = ordered[passing[-1]]
        # Storey's rule may reach past its own pivot, where it promises nothing.
        flagged: NDArray[np.bool_] = p_values <= (cut if self.storey is None else min(cut, self.storey))
        return flagged

    def _why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        rate = self.rate / self._normal_share(p_values)
        return f"{_smallest(p_values, rate / len(p_values))} ({rate:.2g} over {len(p_values):,}), nor do more together"

    def _normal_share(self, p_values: NDArray[np.float64]) -> float:
        if self.storey is None or not len(p_values):
            return 1.0
        above = 1 + int((p_values > self.storey).sum())
        return float(above / (len(p_values) * (1 - self.storey)))


class Cost(ThresholdPolicy):
    """Flag where a miss would cost more, in expectation, than an alarm.

    Parameters
    ----------
    miss : float
        Cost of an anomalous item that is not flagged.
    alarm : float
        Cost of a normal item that is flagged.
    prevalence : float
        Believed share of anomalous items.
    auroc : float
        Believed chance that an anomalous item outranks a normal one; the power report estimates it.

    Notes
    -----
    The optimal rule flags when the posterior odds exceed ``alarm / miss`` (Elkan 2001). Without labels the density
    of anomalous p-values cannot be estimated from p-values that are uniform over the very same mixture, so it is
    taken from the one-parameter family of Pounds and Morris 2003, ``f(p) = a p^(a - 1)``, whose AUROC is
    ``1 / (1 + a)``. The rule is then ``p <= (a miss prevalence / (alarm (1 - prevalence)))^(1 / (1 - a))``.
    """

    name = "cost"

    def __init__(
        self, *, miss: float = 100.0, alarm: float = 1.0, prevalence: float = 0.01, auroc: float = 0.9
    ) -> None:
        self.miss = miss
        self.alarm = alarm
        self.prevalence = prevalence
        self.auroc = auroc

    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range."""
        _check_rate("threshold.prevalence", self.prevalence)
        for key, cost in (("miss", self.miss), ("alarm", self.alarm)):
            if not (np.isfinite(cost) and cost > 0):
                raise ConfigError(f"threshold.{key}={cost!r}: expected a cost above 0")
        if not 0.5 < self.auroc < 1:
            raise ConfigError(f"threshold.auroc={self.auroc!r}: expected a value between 0.5 and 1, both left out")

    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        a = (1 - self.auroc) / self.auroc
        odds = self.prevalence / (1 - self.prevalence) * self.miss / self.alarm
        self.p_threshold_ = float(min(1.0, (a * odds) ** (1 / (1 - a))))
        return float(-np.log10(max(self.p_threshold_, 1e-300)))

    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return p_values <= self.p_threshold_

    def _why_none(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> str:
        return _smallest(p_values, self.p_threshold_)


class Contamination(ThresholdPolicy):
    """Flag what scores above the quantile ``1 - rate`` of the reference items, as PyOD and scikit-learn do."""

    name = "contamination"

    def __init__(self, *, rate: float = 0.01) -> None:
        self.rate = rate

    def check(self) -> None:
        """Raise ConfigError if a setting is out of its range."""
        _check_rate("threshold.rate", self.rate)

    def _learn(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> float:
        return float(np.quantile(scores, 1 - self.rate))

    def _decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return scores > self.threshold_


def upper_quantile(scores: NDArray[np.float64], rate: float) -> float:
    """Return the score that a new item exceeds with chance `rate`, if it is exchangeable with `scores`.

    The k-th largest of n reference scores is exceeded with chance ``k / (n + 1)``; between them the line is
    straight, and below ``1 / (n + 1)`` an exponential tail over the highest tenth goes on from the largest.
    """
    n = len(scores)
    if rate * (n + 1) >= 1:
        return float(np.quantile(scores, 1 - rate, method="weibull"))
    top = np.sort(scores)[-min(n, max(TAIL_LEAST, int(TAIL_SHARE * n))) :]
    excess = float((top - top[0]).sum()) / max(len(top) - 1, 1)
    return float(top[-1] + excess * -np.log(rate * (n + 1)))


def _smallest(p_values: NDArray[np.float64], rate: float) -> str:
    return f"the smallest p-value, {p_values.min():.2g}, is above {rate:.2g}"


def _pair(scores: Any, p_values: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    s, p = np.asarray(scores, np.float64), np.asarray(p_values, np.float64)
    if s.shape != p.shape or s.ndim != 1:
        raise DataError(f"scores have shape {s.shape}, p-values {p.shape}; give two columns of equal length")
    if not (np.isfinite(s).all() and np.isfinite(p).all()):
        raise DataError("scores and p-values must be finite; a threshold cannot judge NaN or infinity")
    return s, p


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _check_rate(key: str, rate: float) -> None:
    if not (_is_real(rate) and 0 < rate < 1):
        raise ConfigError(f"{key}={rate!r}: expected a share between 0 and 1, both left out")
