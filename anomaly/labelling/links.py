"""Who else uses what a case uses: devices, cards, addresses and other values that few share.

Shapes: T events, F coded fields, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.explain.values import present
from anomaly.features.segments import reported
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

SHOWN, NAMED = 6, 5
_MANY, _COMMON = 12, 50
"""Values from which a field can link, and holders from which a value says nothing."""


@dataclass(frozen=True)
class Link:
    """One value that others hold too.

    Attributes
    ----------
    others : how many other entities hold it
    names : some of them, as text, those that were judged first
    anomalous : how many of the others have a case that was judged anomalous
    """

    field: str
    value: str
    others: int
    names: list[str]
    anomalous: int


class LinkIndex:
    """By the place of a field and by value, the sequences that hold it.

    Parameters
    ----------
    first : fields that are shown before others
    """

    def __init__(self, store: SequenceStore, encoder: EventEncoder, first: Sequence[str] = ()) -> None:
        self.encoder = encoder
        self.first = tuple(first)
        self.entities, self.names = store.entity_ids, store.field_names
        fields = [k for k, f in enumerate(store.fields) if f.kind == "categorical" and f.size > _MANY + FIRST_VALUE]
        offsets, kept = reported(store)
        sequence = np.repeat(np.arange(len(store)), np.diff(offsets))
        self.fields = {k: self._holders(store, k, kept, sequence) for k in fields}

    def _holders(self, store: SequenceStore, k: int, kept: NDArray[np.bool_], sequence: NDArray[np.int64]) -> _Holders:
        codes = store.codes[kept, k]
        known = present(self.encoder, store.field_names[k], codes)
        return _Holders.of(codes[known].astype(np.int64), sequence[known])

    def of(self, sequence: int, anomalous: set[str], codes_TF: NDArray[Any] | None = None) -> list[Link]:
        """Return the values that a sequence shares with few others, the rarest first.

        Parameters
        ----------
        anomalous : entities with a case that was judged anomalous
        codes_TF : the events of the sequence whose values count; None counts all
        """
        own, found = self.entities[sequence], []
        for k, holders in self.fields.items():
            field, codes = self.names[k], holders.codes_of(sequence)
            for code in codes if codes_TF is None else np.intersect1d(codes, codes_TF[:, k]):
                users = self.entities[holders.sequences_of(int(code))].unique(maintain_order=True)
                names = [str(user) for user in users if user is not None and user != own]
                if 0 < len(names) <= _COMMON:
                    bad = [name for name in names if name in anomalous]
                    shown = [*bad, *(name for name in names if name not in anomalous)][:NAMED]
                    value = self.encoder.decode(field, np.array([code]))[0]
                    found.append(Link(field, value, len(names), shown, len(bad)))
        return sorted(found, key=lambda link: (not link.anomalous, link.field not in self.first, link.others))[:SHOWN]


@dataclass(frozen=True)
class _Holders:
    """Distinct pairs of code and sequence, once by code and once by sequence."""

    by_code: NDArray[np.int64]
    by_sequence: NDArray[np.int64]

    @classmethod
    def of(cls, code: NDArray[np.int64], owner: NDArray[np.int64]) -> _Holders:
        return cls(np.unique((code << 32) | owner), np.unique((owner << 32) | code))

    def codes_of(self, sequence: int) -> NDArray[np.int64]:
        return _second(self.by_sequence, sequence)

    def sequences_of(self, code: int) -> NDArray[np.int64]:
        return _second(self.by_code, code)


def _second(pairs: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(pairs, [first << 32, (first + 1) << 32])
    return pairs[low:high] & 0xFFFFFFFF
