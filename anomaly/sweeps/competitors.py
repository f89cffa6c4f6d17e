"""Whoever takes part: given a task, it returns scores. Everything is judged behind this one function.

Shapes: n scored items.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from anomaly.base import seeded
from anomaly.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from anomaly.base import Detector
    from anomaly.sweeps.task import Task

    Float = NDArray[np.float64]


NONE_LABELLED = "no labelled anomaly to learn from"


@dataclass(frozen=True)
class Outcome:
    """What a competitor returns.

    Attributes
    ----------
    scores : (n,) higher is more anomalous
    seconds : wall time by part: prepare, fit, score
    ids : of the scored items, where they are in another order than the task's
    members : scores of its parts, by name
    notes : what else is worth a line in the row
    """

    scores: Float
    seconds: dict[str, float]
    ids: pl.Series | None = None
    members: dict[str, Float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


class Competitor(ABC):
    """Score the items of a task; constructors only store."""

    rests_on: ClassVar[tuple[str, ...]] = ()
    """Rooms of the package that its scores rest on, beyond those that every figure rests on."""

    @abstractmethod
    def compete(self, task: Task) -> Outcome:
        """Learn from the task's fit rows, with the labels of its budget if it can, and score its score rows."""

    def uses_seed(self) -> bool:
        """Return whether another seed may give other scores on equal rows."""
        return True

    def told(self) -> Any:
        """Return what decides its scores and is not in its configuration, as plain values."""
        return None

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """Return the versions of the packages of these names, and of others, that it does not find where this runs."""
        return {}


class OnFeatures(Competitor):
    """One of the package's detectors on features: of a table its columns, of sequences their aggregates.

    Parameters
    ----------
    detector : built with `random_state` of its own; the cell's seed replaces it
    """

    rests_on = ("detectors",)

    def __init__(self, *, detector: Detector) -> None:
        self.detector = detector

    def compete(self, task: Task) -> Outcome:
        """Fit and score."""
        clock = Clock()
        fit, score = task.features()
        clock.lap("prepare")
        detector = seeded(self.detector, task.seed)
        if detector.reads != "features":
            raise ConfigError(f"{type(detector).__name__} reads sequences; put it into the ensemble's members")
        detector.fit(fit, task.labels if detector.uses_labels else None)
        clock.lap("fit")
        # A detector from outside the package need not keep the scores of a fit.
        kept = getattr(detector, "decision_scores_", None) if task.scores_what_it_fits else None
        scores = detector.decision_function(score) if kept is None else kept
        clock.lap("score")
        return Outcome(scores, clock.seconds)


class AsItComes(Competitor):
    """A PyOD detector as PyOD's own examples use it: standardised columns, defaults, its scores of the fitted rows.

    None of the package's adapter is used: no cap on the rows, no frozen columns, no repair but that of missing values,
    which no detector of PyOD takes.

    Parameters
    ----------
    detector : ``_target_`` and keyword arguments
    labelled : "none"; "unknown_as_normal" gives it the label budget with every unknown row as normal, as ADBench does
    """

    def __init__(self, *, detector: dict[str, Any], labelled: Literal["none", "unknown_as_normal"] = "none") -> None:
        self.detector = detector
        self.labelled = labelled

    def uses_seed(self) -> bool:
        """Return whether its constructor takes a random state; without one it is deterministic."""
        import inspect

        return "random_state" in inspect.signature(self._kind()).parameters

    def compete(self, task: Task) -> Outcome:
        """Fit and score."""
        from sklearn.preprocessing import StandardScaler

        clock = Clock()
        fit, score = (np.asarray(X.values, np.float64) for X in task.features())
        medians = np.nan_to_num(_median(fit))
        scaler = StandardScaler()
        rows = scaler.fit_transform(_filled(fit, medians))
        clock.lap("prepare")
        estimator = self._build(task.seed)
        estimator.fit(rows, *self._labels(task))
        clock.lap("fit")
        if task.scores_what_it_fits:
            scores = estimator.decision_scores_
        else:
            scores = estimator.decision_function(scaler.transform(_filled(score, medians)))
        clock.lap("score")
        return Outcome(np.asarray(scores, np.float64).reshape(-1), clock.seconds)

    def _labels(self, task: Task) -> tuple[Any, ...]:
        if self.labelled == "none":
            return ()
        if task.labels is None:
            raise ConfigError(f"{self.detector['_target_']} needs labels; give a label budget")
        if not (task.labels == 1).any():
            raise DataError(NONE_LABELLED)
        return ((task.labels == 1).astype(np.int64),)

    def _build(self, seed: int) -> Any:
        options = {key: value for key, value in self.detector.items() if not key.startswith("_")}
        if self.uses_seed():
            options["random_state"] = seed
        return self._kind()(**options)

    def _kind(self) -> Any:
        module, _, name = str(self.detector["_target_"]).rpartition(".")
        if not module.startswith("pyod.models."):
            raise ConfigError(f"detector {module}.{name}: expected a class of pyod.models")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"there is no {module}.{name} ({error})") from error


class Clock:
    """Wall time by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()

    def lap(self, part: str) -> None:
        """End a part."""
        now = time.perf_counter()
        self.seconds[part] = round(now - self._begun, 4)
        self._begun = now


def _median(values: Float) -> Float:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        medians: Float = np.nanmedian(np.where(np.isfinite(values), values, np.nan), axis=0)
    return medians


def _filled(values: Float, medians: Float) -> Float:
    return np.where(np.isfinite(values), values, medians)
