"""Sequences as Lightning wants them: loaders of packed batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from anomaly.sequences.batch import Pieces, SequenceBatch, collate, cut
from anomaly.sequences.device import DeviceColumns, takes
from anomaly.sequences.sampler import TokenBudgetSampler, recurring, share, token_batches

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore


HELD_OUT_EVENTS = 1 << 16
"""Judged events, about, from which on a held-out loss is taken of evenly spread pieces."""


class _Batches(Dataset[SequenceBatch]):
    """Turns a list of pieces into a packed batch: the sampler names the list, so one item is one batch.

    Where the columns lie on a device, batches are gathered there.
    """

    def __init__(self, store: SequenceStore, pieces: Pieces, columns: DeviceColumns | None = None) -> None:
        self.store = store
        self.pieces = pieces
        self.columns = columns

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, chosen: list[int]) -> SequenceBatch:
        if self.columns is not None:
            return self.columns.collate(self.pieces, np.asarray(chosen))
        batch = collate(self.store, self.pieces, np.asarray(chosen))
        return replace(batch, longest=int(recurring(batch.longest)))


class SequenceDataModule(pl.LightningDataModule):
    """Loaders over a training store and a held-out store.

    Parameters
    ----------
    train, held_out : SequenceStore
    tokens : padded events per batch
    longest : training cuts longer sequences into pieces of this many events
    seed : of the order of batches
    """

    def __init__(
        self, *, train: SequenceStore, held_out: SequenceStore, tokens: int, longest: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.train = train
        self.held_out = held_out
        self.tokens = tokens
        self.longest = longest
        self.seed = seed

    def train_dataloader(self) -> DataLoader[SequenceBatch]:
        """Return shuffled batches; `set_epoch` of the sampler names the epoch."""
        pieces = cut(self.train, self.longest)
        sampler = TokenBudgetSampler(recurring(pieces.lengths), self.tokens, self.seed, self._ranks())
        return DataLoader(_Batches(self.train, pieces, self._columns(self.train)), sampler=sampler, batch_size=None)

    def val_dataloader(self) -> DataLoader[SequenceBatch]:
        """Return the held-out sequences in batches of fixed order; what is their past was trained on."""
        pieces = cut(self.held_out, self.longest).after_context(self.held_out)
        judged = np.flatnonzero(pieces.fresh < pieces.end)
        pieces = pieces.take(judged) if len(judged) else cut(self.held_out, self.longest)
        n_judged = int((pieces.end - pieces.fresh).sum())
        pieces = pieces.take(np.arange(0, len(pieces), max(n_judged // HELD_OUT_EVENTS, 1)))
        rank, world = self._ranks()
        batches = [
            batch.tolist() for batch in share(token_batches(recurring(pieces.lengths), 2 * self.tokens), rank, world)
        ]
        return DataLoader(
            _Batches(self.held_out, pieces, self._columns(self.held_out)), sampler=batches, batch_size=None
        )

    def _ranks(self) -> tuple[int, int]:
        """Return the place of this process among those that train together, and their number."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _columns(self, store: SequenceStore) -> DeviceColumns | None:
        device = None if self.trainer is None else self.trainer.strategy.root_device
        return DeviceColumns(store, device) if device is not None and takes(device, store) else None
