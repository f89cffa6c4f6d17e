"""Harmless changes to training batches, so that a model learns what does not matter.

They change what is trained on, never what is scored. Draws come from torch's generator, which a training seeds by its
epoch.

Shapes: T packed events, N sequences, F fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anomaly.base import Estimator
from anomaly.sequences.store import UNKNOWN

if TYPE_CHECKING:
    from anomaly.sequences.batch import SequenceBatch


class Augmentation(Estimator, ABC):
    """One kind of change."""

    @abstractmethod
    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return a changed batch; the one that was given stays as it is."""


class Chain(Augmentation):
    """Several changes, one after another.

    Parameters
    ----------
    steps : by name
    """

    def __init__(self, *, steps: Mapping[str, Augmentation]) -> None:
        self.steps = steps

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch after every step."""
        for step in self.steps.values():
            batch = step(batch)
        return batch


class Crop(Augmentation):
    """Keep a run of consecutive events of some sequences.

    Parameters
    ----------
    rate : share of the sequences
    keep : least share of the events that stays
    """

    def __init__(self, *, rate: float = 0.2, keep: float = 0.5) -> None:
        self.rate = rate
        self.keep = keep

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with some sequences cropped."""
        lengths_N, device = batch.lengths_N, batch.codes_TF.device
        share_N = self.keep + (1 - self.keep) * torch.rand(len(lengths_N), device=device)
        share_N[torch.rand(len(lengths_N), device=device) >= self.rate] = 1.0
        size_N = (share_N * lengths_N).ceil().long().clamp(max=lengths_N)
        first_N = (torch.rand(len(lengths_N), device=device) * (lengths_N - size_N + 1)).long()
        place_T = _places(batch)
        kept_T = (place_T >= _each(first_N, batch)) & (place_T < _each(first_N + size_N, batch))
        return keep_events(batch, kept_T)


class Drop(Augmentation):
    """Leave out events here and there; the first of a sequence always stays.

    Parameters
    ----------
    rate : share of the events
    """

    def __init__(self, *, rate: float = 0.05) -> None:
        self.rate = rate

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch without some events."""
        place_T = _places(batch)
        kept_T = (torch.rand(len(place_T), device=place_T.device) >= self.rate) | (place_T == 0)
        return keep_events(batch, kept_T)


class Mask(Augmentation):
    """Make values unknown here and there, so that the model has met what it will not know.

    Parameters
    ----------
    rate : share of the values
    """

    def __init__(self, *, rate: float = 0.02) -> None:
        self.rate = rate

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with some codes unknown."""
        hidden_TF = torch.rand(batch.codes_TF.shape, device=batch.codes_TF.device) < self.rate
        return replace(batch, codes_TF=batch.codes_TF.masked_fill(hidden_TF, UNKNOWN))


class LocalShuffle(Augmentation):
    """Let neighbouring events change places; the times of the places stay.

    Parameters
    ----------
    rate : share of the sequences
    reach : places, about, that an event may move
    """

    def __init__(self, *, rate: float = 0.1, reach: float = 2.0) -> None:
        self.rate = rate
        self.reach = reach

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with some sequences locally shuffled."""
        device = batch.codes_TF.device
        sequence_T = _each(torch.arange(len(batch.lengths_N), device=device), batch)
        moved_N = torch.rand(len(batch.lengths_N), device=device) < self.rate
        place_T = _places(batch).double()
        place_T += torch.rand(len(place_T), device=device) * self.reach * _each(moved_N, batch)
        # Sequences stay apart: the place counts less than one step of the sequence's number.
        order_T = (sequence_T.double() * (place_T.max().item() + 2.0 if len(place_T) else 1.0) + place_T).argsort()
        return replace(batch, codes_TF=batch.codes_TF[order_T], values_TG=batch.values_TG[order_T])


class TimeJitter(Augmentation):
    """Stretch every gap by a random factor.

    Parameters
    ----------
    scale : standard deviation of the factor's logarithm
    """

    def __init__(self, *, scale: float = 0.1) -> None:
        self.scale = scale

    def __call__(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with jittered gaps."""
        return replace(batch, delta_T=batch.delta_T * (self.scale * torch.randn_like(batch.delta_T)).exp())


def keep_events(batch: SequenceBatch, kept_T: Tensor) -> SequenceBatch:
    """Return the batch with some events; a gap reaches back to the event that is kept before it."""
    places = kept_T.nonzero()[:, 0]
    counts_N = torch.zeros_like(batch.lengths_N).index_add(
        0, _each(torch.arange(len(batch.lengths_N), device=kept_T.device), batch), kept_T.long()
    )
    place_T, first = _places(batch), torch.zeros_like(counts_N[:1])
    cu_seqlens = torch.cat([first, counts_N.cumsum(0)])
    clock_T = batch.delta_T.double().nan_to_num(0.0).cumsum(0)
    delta = clock_T[places].diff(prepend=clock_T[:1]).float()
    delta = torch.where(batch.delta_T[places].isnan(), torch.nan, delta)
    begins_N = counts_N > 0
    begins = cu_seqlens[:-1][begins_N]
    delta[begins] = batch.delta_T[places[begins]]
    last_N = torch.zeros_like(begins_N)
    last_N[begins_N] = place_T[places[cu_seqlens[1:][begins_N] - 1]] == batch.lengths_N[begins_N] - 1
    starts_N = batch.starts_N.clone()
    starts_N[begins_N] &= place_T[places[begins]] == 0
    return replace(
        batch,
        codes_TF=batch.codes_TF[places],
        values_TG=batch.values_TG[places],
        delta_T=delta,
        cu_seqlens=cu_seqlens,
        starts_N=starts_N,
        ends_N=batch.ends_N & last_N,
    )


def _each(x_N: Tensor, batch: SequenceBatch) -> Tensor:
    """Return each sequence's value at each of its events."""
    return x_N.repeat_interleave(batch.lengths_N)


def _places(batch: SequenceBatch) -> Tensor:
    """Return (T,) the place of each event in its sequence."""
    return torch.arange(len(batch.codes_TF), device=batch.codes_TF.device) - _each(batch.cu_seqlens[:-1], batch)
