"""What is explained: sequences, or single events, each at the end of its past.

Shapes: T events, N sequences, n events that are explained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.base import Analysis, Statistics
from anomaly.detectors.neural import NeuralDetector
from anomaly.sequences.store import rows_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.sequences.store import SequenceStore


def items(
    ensemble: CalibratedEnsemble, X: SequenceStore, indices: Any = None
) -> tuple[SequenceStore, NDArray[np.int64], dict[str, Analysis]]:
    """Return a sequence for each item, how many of its events are past, and what members have said of it already.

    Parameters
    ----------
    indices : places of sequences, of events where these are the items; None is every sequence, its last event
    """
    if ensemble.unit == "sequence":
        X = ensemble.seen(X if indices is None else X.take(indices))
        return X, X.context, {}
    places = X.offsets[1:][X.lengths > 0] - 1 if indices is None else np.asarray(indices, np.int64)
    X, analyses = _ended_by(ensemble, X, places)
    return replace(X, context=X.lengths - 1), X.context, analyses


def _ended_by(
    ensemble: CalibratedEnsemble, X: SequenceStore, places: NDArray[np.int64]
) -> tuple[SequenceStore, dict[str, Analysis]]:
    """Return, for each event, its sequence up to and with it, and what the members that count say of these events.

    They read the whole sequence, as when it was scored: what they leave out of their counts lies after the event too.
    """
    owner_n = np.searchsorted(X.offsets, places, side="right") - 1
    owners, which = np.unique(owner_n, return_inverse=True)
    whole = ensemble.seen(X.take(owners))
    events, offsets = whole.events_of(which)
    kept = np.arange(len(events)) <= np.repeat(offsets[:-1] + places - X.offsets[owner_n], np.diff(offsets))
    members = ensemble.bank_.event_members_.items()
    analyses = {name: member.analyse(whole) for name, member in members if not isinstance(member, NeuralDetector)}
    cut = whole.for_edits().take(which).keep_events(kept)
    return cut, {name: _at(analysis, events[kept]) for name, analysis in analyses.items()}


def _at(analysis: Analysis, events: NDArray[np.int64]) -> Analysis:
    """Return what is said of some events; nothing of sequences."""
    found = analysis.event_statistics
    nothing = Statistics(np.zeros((0, 0)), ())
    return Analysis(nothing, rows_at(analysis.fields_TF, events), replace(found, values=rows_at(found.values, events)))
