"""A case against what its owner usually does.

Shapes: T events, N sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.explain.reasons import constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly.explain.reasons import Reason
    from anomaly.explain.reference import Reference
    from anomaly.sequences.store import SequenceStore

ROWS = 6
KEPT = 3
"""An entity that has used no more values of a field than this keeps to them."""
_NUMBERS = ("VALUE_UNLIKE_OWN_PAST", "UNUSUAL_VALUE")


def usual_rows(reference: Reference, X: SequenceStore, n: int, text: Callable[[str, int], str]) -> list[dict[str, Any]]:
    """Return the values whose share here differs most from that in the owner's other sequences, or everybody's.

    Rows have field, value, usual and here (shares of the events) and whose ("own" or "all").
    """
    own = reference.own(X, n)
    base = reference.store.take(own) if len(own) else reference.sample
    if not base.n_events:
        return []
    rows: list[dict[str, Any]] = []
    events = slice(int(X.offsets[n] + X.context[n]), int(X.offsets[n + 1]))
    for f, field in enumerate(X.fields):
        size = max(field.size, int(X.codes[events, f].max(initial=0)) + 1)
        usual = np.bincount(base.codes[:, f], minlength=size) / base.n_events
        here = np.bincount(X.codes[events, f], minlength=size) / max(events.stop - events.start, 1)
        usual = usual[: len(here)] if len(usual) > len(here) else usual
        for code in np.argsort(-np.abs(here - usual), kind="stable")[:2]:
            shares = {"usual": float(usual[code]), "here": float(here[code])}
            rows.append({"field": field.name, "value": text(field.name, int(code)), **shares})
    rows.sort(key=lambda row: -abs(row["here"] - row["usual"]))
    return [{**row, "whose": "own" if len(own) else "all"} for row in rows[:ROWS]]


def compound(
    reasons: list[Reason],
    reference: Reference,
    X: SequenceStore,
    n: int,
    past: int,
    value: Callable[[int, str], str],
) -> list[Reason]:
    """Return the reasons, with a number that is odd after a value that is new for the owner told as one.

    A value counts as new where the owner has other sequences and has kept to few values in the field.

    Parameters
    ----------
    past : events of the sequence before the one that is number 1
    """
    odd = next((k for k, reason in enumerate(reasons) if reason.code in _NUMBERS and reason.share >= 0.1), None)
    if odd is None:
        return reasons
    own = reference.own(X, n)
    if len(own) < 2:
        return reasons
    history, start = reference.store.take(own), int(X.offsets[n])
    first, later = start + past, start + past + reasons[odd].facts["n"] - 1
    for f, field in enumerate(X.fields):
        # What the sequence's own past holds is not new either.
        seen = np.unique(np.concatenate([history.codes[:, f], X.codes[start:first, f]]))
        if field.kind != "categorical" or f == 0 or len(seen) > KEPT:
            continue
        fresh = np.flatnonzero(~np.isin(X.codes[first : later + 1, f], seen))
        if len(fresh):
            facts = reasons[odd].facts
            told = {"n": int(fresh[0]) + 1, "later": facts["n"], "number": facts["about"]}
            told |= {"high": facts["value"], "about": field.name, "value": value(first + int(fresh[0]), field.name)}
            changed = replace(reasons[odd], code=f"NEW_{constant(field.name)}_THEN_HIGH_VALUE", facts={**facts, **told})
            return [changed if k == odd else reason for k, reason in enumerate(reasons)]
    return reasons
