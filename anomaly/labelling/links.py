"""Who else uses what a case uses: devices, cards, addresses and other values that few share.

Shapes: T events, F coded fields, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import bdtrc

from anomaly.explain.values import present
from anomaly.features.segments import reported
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

SHOWN, NAMED = 6, 5
_MANY, _COMMON, _WIDE = 10, 50, 0.1
"""Values from which a field can link; holders, and their share of all, above which a value links nobody."""
_STEADY, _FEW, _NARROW = 2.0, 5, 0.02
"""Values of a sequence up to which a field is steady; holders of the typical value, and their share of all, up to which
a field tells people apart: a visit keeps to a category as it does to a device, but so do many others."""
_CHANCE = 0.1
"""Chance of as many judged anomalous ones among anybody from which they say nothing of a value."""


@dataclass(frozen=True)
class Link:
    """One value that others hold too.

    Attributes
    ----------
    others : how many other entities hold it
    names : some of them, as text, those that were judged first
    anomalous : how many of the others have a case that was judged anomalous
    telling : whether these are more than chance puts among as many others
    """

    field: str
    value: str
    others: int
    names: list[str]
    anomalous: int
    telling: bool = False


class LinkIndex:
    """By the place of a field and by value, the sequences that hold it.

    Attributes
    ----------
    steady : fields that stay the same within a sequence and differ between: devices, addresses, cards; these are shown
        before others
    """

    def __init__(self, store: SequenceStore, encoder: EventEncoder) -> None:
        self.encoder = encoder
        self.entities, self.names = store.entity_ids, store.field_names
        fields = [k for k, f in enumerate(store.fields) if f.kind == "categorical" and f.size > _MANY + FIRST_VALUE]
        offsets, kept = reported(store)
        sequence = np.repeat(np.arange(len(store)), np.diff(offsets))
        self.fields = {k: self._holders(store, k, kept, sequence) for k in fields}
        owner = self.entities.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        self.n_entities = self.entities.n_unique()
        few = max(_FEW, _NARROW * self.n_entities)
        self.steady = [
            self.names[k]
            for k, holders in self.fields.items()
            if k and 0 < holders.variety() <= _STEADY and holders.typical(owner) <= few
        ]

    def _holders(self, store: SequenceStore, k: int, kept: NDArray[np.bool_], sequence: NDArray[np.int64]) -> _Holders:
        codes = store.codes[kept, k]
        known = present(self.encoder, store.field_names[k], codes)
        return _Holders.of(codes[known].astype(np.int64), sequence[known])

    def of(self, sequence: int, anomalous: set[str], codes_TF: NDArray[Any] | None = None) -> list[Link]:
        """Return the values that a sequence shares with few others: first those that tell and steady ones.

        Parameters
        ----------
        anomalous : entities with a case that was judged anomalous
        codes_TF : the events of the sequence whose values count; None counts all
        """
        own, found = self.entities[sequence], []
        most = min(_COMMON, max(_FEW, _WIDE * self.n_entities))
        usual = len(anomalous - {str(own)}) / max(self.n_entities - 1, 1)
        for k, holders in self.fields.items():
            field, codes = self.names[k], holders.codes_of(sequence)
            shared = []
            for code in codes if codes_TF is None else np.intersect1d(codes, codes_TF[:, k]):
                users = self.entities[holders.sequences_of(int(code))].unique(maintain_order=True)
                names = [str(user) for user in users if user is not None and user != own]
                if 0 < len(names) <= most:
                    shared.append((code, names))
            for code, names in shared:
                bad = [name for name in names if name in anomalous]
                shown = [*bad, *(name for name in names if name not in anomalous)][:NAMED]
                value = self.encoder.decode(field, np.array([code]))[0]
                telling = _tells(len(bad), len(names), usual, len(shared))
                found.append(Link(field, value, len(names), shown, len(bad), telling))
        return sorted(found, key=lambda link: (not link.telling, link.field not in self.steady, link.others))[:SHOWN]


def _tells(bad: int, others: int, usual: float, looked: int) -> bool:
    """Return whether more of the others are judged anomalous than chance puts there.

    Of as many others, each judged anomalous as often as anybody, as many or more are with the binomial's upper tail;
    who looks at many values of a field, such as the wares of a visit, finds one such among them the more often.

    Parameters
    ----------
    usual : share of the judged anomalous among all
    looked : values of the field that the case shares
    """
    return bad > 0 and looked * float(bdtrc(bad - 1, others, usual)) <= _CHANCE


@dataclass(frozen=True)
class _Holders:
    """Distinct pairs of code and sequence, once by code and once by sequence."""

    by_code: NDArray[np.int64]
    by_sequence: NDArray[np.int64]

    @classmethod
    def of(cls, code: NDArray[np.int64], owner: NDArray[np.int64]) -> _Holders:
        return cls(np.unique((code << 32) | owner), np.unique((owner << 32) | code))

    def variety(self) -> float:
        """Return how many values a sequence has that has any; 0 where none has."""
        return len(self.by_sequence) / max(len(np.unique(self.by_sequence >> 32)), 1)

    def typical(self, owner: NDArray[np.int64]) -> float:
        """Return how many owners the middle one of the values has; 0 without values."""
        pairs = np.unique((self.by_code >> 32 << 32) | owner[self.by_code & 0xFFFFFFFF])
        counts = np.unique(pairs >> 32, return_counts=True)[1]
        return float(np.median(counts)) if len(counts) else 0.0

    def codes_of(self, sequence: int) -> NDArray[np.int64]:
        return _second(self.by_sequence, sequence)

    def sequences_of(self, code: int) -> NDArray[np.int64]:
        return _second(self.by_code, code)


def _second(pairs: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(pairs, [first << 32, (first + 1) << 32])
    return pairs[low:high] & 0xFFFFFFFF
