"""Contrastive embeddings: two pieces of one behaviour lie close, pieces of different ones far apart.

Shapes: T packed events, N sequences, M = 2 N crops, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from anomaly.models.base import SequenceNetwork
from anomaly.nn.pooling import positions
from anomaly.sequences.batch import SequenceBatch

if TYPE_CHECKING:
    from anomaly.nn.encoders import Carry

TEMPERATURE = 0.1
SHORTEST, LONGEST = 0.4, 0.8
"""Share of a sequence that a crop holds."""
FIXED = 0.6
"""The same share where nothing is drawn: the first crop is the sequence's beginning, the second its end."""


class ContrastiveModel(SequenceNetwork):
    """Embeddings that tell whose crop it is (Babaev et al. 2022, CoLES; loss after Khosla et al. 2020, SupCon).

    Crops of one entity belong together where entities are known, else crops of one sequence. There are no residuals.
    """

    profiled: ClassVar[bool] = False
    smallest_batch: ClassVar[int] = 2048

    def embed(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (N, D), the mean state of each sequence; only its direction counts."""
        return super().embed(batch, carry)

    def settle(self, embedding_ND: Tensor) -> Tensor:
        """Return the embeddings at unit length."""
        return nn.functional.normalize(embedding_ND, dim=1)

    def sequence_losses(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (N,) nats of telling a sequence's crops apart from the others', and ones."""
        z_MD = torch.cat([self.settle(self.embed(self._crop(batch, which))) for which in (0, 1)]).float()
        owner_M = self._owner(batch).repeat(2)
        itself_MM = torch.eye(len(z_MD), dtype=torch.bool, device=z_MD.device)
        log_p_MM = (z_MD @ z_MD.T / TEMPERATURE).masked_fill(itself_MM, -1e4).log_softmax(dim=1)
        kin_MM = (owner_M[:, None] == owner_M) & ~itself_MM
        loss_M = -(log_p_MM * kin_MM).sum(dim=1) / kin_MM.sum(dim=1)
        loss_N = loss_M.view(2, -1).mean(dim=0)
        return loss_N, torch.ones_like(loss_N)

    def _owner(self, batch: SequenceBatch) -> Tensor:
        """Return (N,) a number that sequences of one entity share; a number of its own where it is not known."""
        n_entities = int(self.params["n_entities"])
        if n_entities <= 2:
            return batch.index_N
        return torch.where(batch.entity_N > 0, batch.entity_N, n_entities + batch.index_N)

    def _crop(self, batch: SequenceBatch, which: int) -> SequenceBatch:
        """Return a run of events of each sequence, drawn while training."""
        length_N = batch.lengths_N
        share_N, place_N = torch.rand(2, len(length_N), device=length_N.device) if self.training else (FIXED, which)
        if self.training:
            share_N = SHORTEST + (LONGEST - SHORTEST) * share_N
        size_N = (share_N * length_N).ceil().long()
        begin_N = (place_N * (length_N - size_N + 1)).floor().long().clamp(max=length_N - size_N)
        place_T = positions(batch.cu_seqlens, len(batch.codes_TF))
        begin_T, size_T = begin_N.repeat_interleave(length_N), size_N.repeat_interleave(length_N)
        kept_T = (place_T >= begin_T) & (place_T < begin_T + size_T)
        return SequenceBatch(
            codes_TF=batch.codes_TF[kept_T],
            values_TG=batch.values_TG[kept_T],
            delta_T=batch.delta_T[kept_T],
            cu_seqlens=nn.functional.pad(size_N.cumsum(0), (1, 0)),
            longest=batch.longest,
            entity_N=batch.entity_N,
            index_N=batch.index_N,
            starts_N=batch.starts_N & (begin_N == 0),
            ends_N=batch.ends_N & (begin_N + size_N == length_N),
        )
