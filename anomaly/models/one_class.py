"""One class: all usual sequences close to one point.

Shapes: N sequences, Z latent width.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.models.next_event import NextEventModel
from anomaly.models.ranks import over_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly.nn.encoders import Carry
    from anomaly.sequences.batch import SequenceBatch

FIRST_BATCHES = 50
"""Batches, at most, whose mean embedding before training is the centre."""


class OneClassModel(NextEventModel):
    """Embeddings drawn to a fixed centre (Ruff et al. 2018, Deep SVDD), by an encoder that predicts events as well.

    The prediction keeps the embeddings from all becoming the centre, which by themselves they would.

    Parameters
    ----------
    latent : Z, the width of the embedding
    """

    options: ClassVar[tuple[str, ...]] = (*NextEventModel.options, "latent")
    profiled: ClassVar[bool] = False
    centre_Z: Tensor
    centred: Tensor

    def __init__(self, *, latent: int = 32, **shared: Any) -> None:
        super().__init__(**shared)
        self.params["latent"] = latent
        # Without a bias: one alone would reach the centre.
        self.project = nn.Linear(int(self.params["width"]), latent, bias=False)
        self.register_buffer("centre_Z", torch.zeros(latent))
        self.register_buffer("centred", torch.zeros((), dtype=torch.bool))

    @property
    def embedding_width(self) -> int:
        """Return Z."""
        return int(self.params["latent"])

    def embed(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (N, Z)."""
        embedding_NZ: Tensor = self.project(super().embed(batch, carry))
        return embedding_NZ

    def settle(self, embedding_ND: Tensor) -> Tensor:
        """Return the embeddings relative to the centre."""
        return embedding_ND - self.centre_Z

    def sequence_losses(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (N,) nats and, at the same weight per event, the mean squared distance from the centre."""
        loss_N, weight_N = super().sequence_losses(batch)
        distance_N = self.settle(self.embed(batch)).square().mean(dim=1)
        return loss_N + weight_N * distance_N, weight_N

    @torch.no_grad()
    def begin_training(self, batches: Iterable[SequenceBatch]) -> None:
        """Fix the centre, once, where the untrained embeddings lie."""
        if bool(self.centred):
            return
        embedding_NZ = torch.cat([self.embed(batch) for batch in islice(batches, FIRST_BATCHES)])
        count_N = embedding_NZ.new_ones(len(embedding_NZ))
        self.centre_Z.copy_(over_ranks(embedding_NZ.sum(dim=0)) / over_ranks(count_N.sum()))
        self.centred.fill_(True)
