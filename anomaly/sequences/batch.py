"""Packed batches: a gather of flat columns, no padding, no loop.

Shapes: T packed events, N sequences, F fields, G numeric fields.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from anomaly.sequences.sampler import token_batches
from anomaly.sequences.store import rows_at, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences laid end to end.

    Attributes
    ----------
    codes_TF : int64
    values_TG : float32
    delta_T : float32, seconds since the previous event; NaN where there is no time
    cu_seqlens : (N + 1,) int64, offsets of the sequences
    longest : events that no sequence has more of
    entity_N : int64
    index_N : int64, places of the sequences in their store
    starts_N : bool, false for a piece cut from the middle of a sequence
    ends_N : bool, whether the sequence's true end is the piece's last event
    past_N : int64, leading events that are read and not judged; None where every event is judged
    """

    codes_TF: Tensor
    values_TG: Tensor
    delta_T: Tensor
    cu_seqlens: Tensor
    longest: int
    entity_N: Tensor
    index_N: Tensor
    starts_N: Tensor
    ends_N: Tensor
    past_N: Tensor | None = None

    @property
    def lengths_N(self) -> Tensor:
        """Return events per sequence."""
        return self.cu_seqlens.diff()

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on another device."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: x.to(device, non_blocking=True) for k, x in parts.items() if isinstance(x, Tensor)}
        return replace(self, **moved)

    def first_T(self) -> Tensor:
        """Return (T,) whether an event is the first of its sequence; the size is known, so nothing waits for it."""
        begins_N = self.starts_N & (self.lengths_N > 0)
        # One place more, where sequences without events at the end of the batch begin.
        counts = self.codes_TF.new_zeros(len(self.codes_TF) + 1).index_add(0, self.cu_seqlens[:-1], begins_N.long())
        return counts[:-1] > 0

    def judged_R(self) -> Tensor | None:
        """Return the places of the events that are judged, or None where all are."""
        if self.past_N is None:
            return None
        first_N = self.cu_seqlens[:-1] + self.past_N
        place_T = torch.arange(len(self.codes_TF), device=self.codes_TF.device)
        return (place_T >= first_N.repeat_interleave(self.lengths_N, output_size=len(place_T))).nonzero()[:, 0]

    def as_population(self) -> Self:
        """Return the batch with every entity unknown."""
        return replace(self, entity_N=torch.zeros_like(self.entity_N))


@dataclass(frozen=True)
class Pieces:
    """Runs of consecutive events to be batched: whole sequences, or cuts of long ones.

    Attributes
    ----------
    sequence : (P,) place of each piece's sequence
    begin, end : (P,) flat places of its first event and of the one after its last
    fresh : (P,) flat place from which the piece's events are its own; those before are overlap, read as context
    """

    sequence: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    fresh: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(P,) events per piece."""
        return self.end - self.begin

    def places(self) -> NDArray[np.int64]:
        """Return the flat places of the events of all pieces, one piece after another."""
        return runs(self.begin, self.lengths)[0]

    def after_context(self, store: SequenceStore) -> Pieces:
        """Return the same pieces, whose events are their own only after the context of their sequence."""
        first = store.offsets[:-1][self.sequence] + store.context[self.sequence]
        return Pieces(self.sequence, self.begin, self.end, np.clip(self.fresh, np.minimum(first, self.end), None))

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Pieces:
        """Return the chosen pieces, in that order."""
        return Pieces(self.sequence[chosen], self.begin[chosen], self.end[chosen], self.fresh[chosen])


def cut(store: SequenceStore, longest: int | None = None, overlap: int = 0) -> Pieces:
    """Cut every sequence into pieces of at most `longest` events, each after the first led by `overlap` old ones.

    A sequence without events has no piece.
    """
    lengths = store.lengths
    step = max(int(lengths.max(initial=1)), 1) if longest is None else max(longest - overlap, 1)
    count = np.maximum(-(-(lengths - overlap) // step), 1) if longest is not None else np.ones_like(lengths)
    count[lengths == 0] = 0
    sequence = np.repeat(np.arange(len(store)), count)
    nth = np.arange(len(sequence)) - np.repeat(np.cumsum(count) - count, count)
    origin = store.offsets[:-1][sequence]
    begin = origin + nth * step
    end = np.minimum(begin + (longest or step), store.offsets[1:][sequence])
    fresh = np.where(nth > 0, begin + overlap, begin)
    return Pieces(sequence, begin, end, fresh)


def collate(store: SequenceStore, pieces: Pieces, chosen: NDArray[np.int64]) -> SequenceBatch:
    """Gather the chosen pieces of a store into one packed batch."""
    begin, end, sequence = pieces.begin[chosen], pieces.end[chosen], pieces.sequence[chosen]
    lengths, past = end - begin, pieces.fresh[chosen] - begin
    places, offsets = runs(begin, lengths)
    return SequenceBatch(
        codes_TF=torch.from_numpy(rows_at(store.codes, places).astype(np.int64)),
        values_TG=torch.from_numpy(rows_at(store.values, places)),
        delta_T=torch.from_numpy(rows_at(store.delta, places)),
        cu_seqlens=torch.from_numpy(offsets),
        longest=int(lengths.max(initial=0)),
        entity_N=torch.from_numpy(store.entity[sequence].astype(np.int64)),
        index_N=torch.from_numpy(sequence),
        starts_N=torch.from_numpy(begin == store.offsets[:-1][sequence]),
        ends_N=torch.from_numpy(end == store.offsets[1:][sequence]),
        past_N=torch.from_numpy(past) if past.any() else None,
    )


def scoring_batches(
    store: SequenceStore, tokens: int, longest: int | None = None, overlap: int = 0, *, in_order: bool = False
) -> Iterator[tuple[SequenceBatch, Pieces]]:
    """Yield every event of a store once, in batches of similar length, with the pieces of each batch.

    Those events are `fresh`, and judged, that are no context and come first in their piece.

    Parameters
    ----------
    in_order : the first pieces of all sequences come first, then all second ones, and so on
    """
    pieces = cut(store, longest, overlap).after_context(store)
    nth = np.zeros(len(pieces), np.int64)
    if in_order and longest is not None:
        nth = (pieces.begin - store.offsets[:-1][pieces.sequence]) // max(longest - overlap, 1)
    for turn in range(int(nth.max(initial=-1)) + 1):
        rows = np.flatnonzero(nth == turn)
        for batch in token_batches(pieces.lengths[rows], tokens):
            chosen = rows[batch]
            yield collate(store, pieces, chosen), pieces.take(chosen)
