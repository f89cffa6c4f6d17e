"""Floors: scores that need no model and hardly any thought. Whoever is below one has a reason to look.

Shapes: n scored items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.errors import ConfigError
from anomaly.sweeps.competitors import Clock, Competitor, Outcome
from anomaly.sweeps.eventrows import reported_events
from anomaly.sweeps.task import SequenceTask

if TYPE_CHECKING:
    from anomaly.sweeps.task import Task

NGRAMS = {
    "sequence": {"unigram": "order0.mean", "bigram": "order1.largest", "own": "contrast.order0"},
    "event": {"unigram": "order0", "bigram": "order1", "own": "contrast.order0"},
}
"""What counts of codes say: rare codes, the rarest transition, own habits against everybody's."""


class Floor(Competitor):
    """A floor is the same under every seed."""

    def uses_seed(self) -> bool:
        """Return False."""
        return False


class ShortLength(Floor):
    """The shorter the odder; for an event, the earlier."""

    def compete(self, task: Task) -> Outcome:
        """Count the events."""
        store = _sequences(task).prepared[1]
        clock = Clock()
        items = store.lengths if _sequences(task).level == "sequence" else store.position()[reported_events(store)]
        clock.lap("score")
        return Outcome(-items.astype(np.float64), clock.seconds)


class NGramFloor(Floor):
    """One statistic of smoothed n-grams.

    Parameters
    ----------
    statistic : unigram, bigram, or own (habits of the entity against everybody's)
    """

    rests_on = ("detectors",)

    def __init__(self, *, statistic: str) -> None:
        self.statistic = statistic

    def compete(self, task: Task) -> Outcome:
        """Count on the fitted sequences, read the scored ones."""
        from anomaly.detectors.ngram import NGramDetector

        task = _sequences(task)
        fitted, store = task.prepared
        clock = Clock()
        detector = NGramDetector().fit(fitted.store)
        clock.lap("fit")
        events = task.level == "event"
        found = detector.event_statistics(store) if events else detector.statistics(store)
        name = NGRAMS[task.level][self.statistic]
        if name not in found.names:
            raise ConfigError(f"{task.name}: no statistic {name}; its events have no entity, or no codes")
        scores = found.column(name)
        clock.lap("score")
        return Outcome(scores[reported_events(store)] if events else scores, clock.seconds)


class LargestZ(Floor):
    """The largest distance from the median of a column, in robust standard deviations."""

    def compete(self, task: Task) -> Outcome:
        """Measure the fitted columns, read the scored ones."""
        fit, score = task.features()
        clock = Clock()
        low, centre, high = np.nanquantile(fit.values.astype(np.float64), [0.25, 0.5, 0.75], axis=0)
        spread = np.nanstd(fit.values.astype(np.float64), axis=0)
        unit = np.where(high > low, (high - low) / 1.349, np.where(spread > 0, spread, 1.0))
        clock.lap("fit")
        distance = np.abs((score.values - centre) / unit)
        scores = np.nan_to_num(distance).max(axis=1, initial=0.0)
        clock.lap("score")
        return Outcome(scores, clock.seconds)


def _sequences(task: Task) -> SequenceTask:
    if not isinstance(task, SequenceTask):
        raise ConfigError(f"{task.name}: a table has no sequences; this floor is for events")
    return task
