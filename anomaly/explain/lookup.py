"""Where in a sequence a feature comes from.

Shapes: T events, N sequences, F fields of the axis, K features, Q kinds of features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.explain.axis import GAP, WHOLE, Axis
from anomaly.sequences.store import FIRST_VALUE, RARE, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.base import FeatureMatrix
    from anomaly.features.aggregates import SequenceAggregates
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

STEP = " > "
"""Between the two values of a feature that counts a step."""
NEW_STEPS = "new_transition_share"
"""Feature of the first field: the share of steps that no other sequence holds."""
_OF_GAPS = ("span.log", "rate.log")


def feature_field(name: str, fields: tuple[str, ...]) -> str:
    """Return the field that a feature speaks of; "whole" where it is none."""
    if name in _OF_GAPS or name.startswith(f"{GAP}."):
        return GAP
    known = [field for field in fields if name.startswith((f"{field}=", f"{field}."))]
    return max(known, key=len, default=WHOLE)


def counted_codes(aggregates: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return, of every feature that counts a value or a step, the field and the codes: one, or that of both ends."""
    found = {}
    for name in aggregates.names_:
        field, _, counted = name.partition("=")
        codes = [part.removeprefix("code ") for part in counted.split(STEP)]
        if field in aggregates.fields_ and all(code.isdigit() for code in codes):
            found[name] = (field, tuple(int(code) + FIRST_VALUE for code in codes))
    return found


class Laid:
    """Parts of features as they are laid on events: by field, and by the kind that a feature is of.

    Attributes
    ----------
    left_nK : parts that no event has been found for
    kind_nK : number of the kind of each feature of each sequence
    part_TF, part_TQ : what has been laid, by field and by kind
    """

    def __init__(self, axis: Axis, part_nK: Floats, kind_nK: NDArray[np.int64]) -> None:
        self.axis = axis
        self.left_nK = part_nK.copy()
        self.kind_nK = kind_nK
        self.part_TF = axis.zeros()
        self.part_TQ = np.zeros((len(self.part_TF), int(kind_nK.max(initial=-1)) + 1))

    def lay(self, event: NDArray[np.int64], column: NDArray[np.int64], field: int) -> None:
        """Lay features on the events of a field that they count, in equal parts; no event is named twice."""
        owner, K = self.axis.ragged.owner[event], self.left_nK.shape[1]
        distinct, where, counts = np.unique(owner * K + column, return_inverse=True, return_counts=True)
        part = self.left_nK.reshape(-1)[distinct][where] / counts[where]
        self.part_TF[event, field] += part
        self.part_TQ[event, self.kind_nK[owner, column]] += part
        self.left_nK.reshape(-1)[distinct] = 0.0

    def spread(self, field_K: NDArray[np.int64]) -> None:
        """Lay what is left evenly over the reported events, given the field of each feature."""
        axis, n = self.axis, len(self.left_nK)
        kept = axis.ragged.sum(axis.kept_T.astype(np.float64))
        share = np.where(axis.kept_T, 1.0 / np.maximum(kept, 1.0)[axis.ragged.owner], 0.0)
        nothing = (kept == 0)[axis.ragged.owner]
        share[nothing] = 1.0 / np.maximum(axis.ragged.lengths[axis.ragged.owner][nothing], 1)
        row, column = np.nonzero(self.left_nK)
        for part, group in ((self.part_TF, field_K[column]), (self.part_TQ, self.kind_nK[row, column])):
            width = part.shape[1]
            sums = np.bincount(row * width + group, self.left_nK[row, column], n * width).reshape(n, width)
            part += sums[axis.ragged.owner] * share[:, None]


def to_events(
    axis: Axis, aggregates: SequenceAggregates, features: FeatureMatrix, part_nK: Floats, kind_nK: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return (T, F) the parts of features, laid on the events and fields that they count, add or compare.

    What a count, or a share of what is rare or new, tells lies in the events that are counted, a largest value where it
    is reached; what belongs to no event (a variety, a length, a value that is missing, an embedding) is spread evenly
    over its field. The same by kind (T, Q), of which `kind_nK` tells the number.
    """
    place = {name: k for k, name in enumerate(features.names)}
    laid = Laid(axis, part_nK, kind_nK)
    _counts(laid, aggregates, place)
    _unnamed(laid, place)
    _steps(laid, aggregates, place)
    _extremes(laid, place)
    fields = axis.fields[:-1]
    laid.spread(np.array([axis.fields.index(feature_field(name, fields)) for name in features.names], np.int64))
    return laid.part_TF, laid.part_TQ


def _counts(laid: Laid, aggregates: SequenceAggregates, place: dict[str, int]) -> None:
    """Lay what the counts of values carry."""
    store = laid.axis.store
    for f, field in enumerate(store.fields):
        columns = np.array([place[name] for name in aggregates.code_names_[f]], np.int64)
        slot = np.full(max(field.size, int(store.codes[:, f].max(initial=0)) + 1), -1, np.int64)
        slot[aggregates.chosen_[f]] = columns
        _shared(laid, slot[store.codes[:, f]], laid.axis.fields.index(field.name))


def _unnamed(laid: Laid, place: dict[str, int]) -> None:
    """Lay what the shares of values without a name of their own carry; the features of a table have none."""
    store = laid.axis.store
    for f, field in enumerate(store.fields):
        for share, code in (("unknown_share", UNKNOWN), ("rare_share", RARE)):
            column = place.get(f"{field.name}.{share}")
            if column is not None:
                hit = np.flatnonzero((store.codes[:, f] == code) & laid.axis.kept_T)
                laid.lay(hit, np.full(len(hit), column), laid.axis.fields.index(field.name))


def _steps(laid: Laid, aggregates: SequenceAggregates, place: dict[str, int]) -> None:
    """Lay what the counts of transitions and the share of new ones carry, at the later of both events."""
    store, transitions, kept = laid.axis.store, aggregates.transitions_, laid.axis.kept_T
    if transitions is None or not store.n_events:
        return
    owner, codes = laid.axis.ragged.owner, np.asarray(store.codes[:, 0], np.int64)
    later = 1 + np.flatnonzero(kept[1:] & kept[:-1] & (owner[1:] == owner[:-1]))
    pairs = codes[later - 1] << 32 | codes[later]
    known = transitions.pairs[transitions.chosen]
    columns = np.array([place[name] for name in aggregates.transition_names_], np.int64)
    if len(known):
        at = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        hit = np.flatnonzero(known[at] == pairs)
        laid.lay(later[hit], columns[at[hit]], 0)
    new = later[transitions.new(pairs, np.isin(store.keys(), aggregates.keys_)[owner[later]])]
    laid.lay(new, np.full(len(new), place[f"{store.field_names[0]}.{NEW_STEPS}"]), 0)


def _shared(laid: Laid, column_T: NDArray[np.int64], field: int) -> None:
    """Divide each feature's part among the events that it counts; -1 counts in none."""
    hit = np.flatnonzero((column_T >= 0) & laid.axis.kept_T)
    laid.lay(hit, column_T[hit], field)


def _extremes(laid: Laid, place: dict[str, int]) -> None:
    """Lay what smallest and largest values carry, where they are reached."""
    axis = laid.axis
    for name, values in _series(axis.store).items():
        for suffix, sign in ((".max", 1), (".min", -1), (".max_log", 1), (".min_log", -1)):
            k = place.get(name + suffix)
            if k is not None and laid.left_nK[:, k].any():
                at = np.flatnonzero(axis.peaks(np.where(axis.kept_T, sign * values, -np.inf)))
                laid.lay(at, np.full(len(at), k), axis.place((name,))[0])


def _series(store: SequenceStore) -> dict[str, Floats]:
    found = {name: np.asarray(store.values[:, g], np.float64) for g, name in enumerate(store.value_names)}
    return found | ({GAP: np.nan_to_num(np.asarray(store.delta, np.float64))} if store.has_time else {})
