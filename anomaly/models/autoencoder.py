"""Autoencoders: a sequence through a bottleneck and back; what the bottleneck cannot hold is surprising.

The decoder is given the latent vector and the places of the events. It never sees an event, its own or another's, so
that all it knows of the sequence came through the bottleneck; a field's head is given the event's earlier fields too.

Shapes: T packed events, N sequences, D width, Z latent width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.models.base import Reading
from anomaly.models.likelihood import LikelihoodModel
from anomaly.nn.embedding import sinusoids
from anomaly.nn.encoders import build_encoder
from anomaly.nn.pooling import last_of_sequence, mean_by_sequence, positions

if TYPE_CHECKING:
    from anomaly.nn.encoders import Carry
    from anomaly.nn.residuals import Residuals
    from anomaly.sequences.batch import SequenceBatch

FREE_NATS = 0.25
"""Of each latent dimension: below it the divergence costs nothing (Kingma et al. 2016), else the latent dies."""


class AutoencoderModel(LikelihoodModel):
    """Density of a sequence's events given its latent vector.

    Parameters
    ----------
    latent : Z, the width of the bottleneck
    """

    options: ClassVar[tuple[str, ...]] = (*LikelihoodModel.options, "latent")
    causal: ClassVar[bool] = False

    def __init__(self, *, latent: int = 32, **shared: Any) -> None:
        super().__init__(**shared)
        self.params["latent"] = latent
        width = int(self.params["width"])
        self.squeeze = nn.Linear(2 * width, self._squeezed(latent))
        self.unsqueeze = nn.Linear(latent, width)
        shape = {name: self.params[name] for name in ("cell", "width", "layers", "heads", "dropout")}
        self.decoder = build_encoder(**shape)

    @property
    def embedding_width(self) -> int:
        """Return Z."""
        return int(self.params["latent"])

    def reading(self, longest: int) -> Reading:
        """Return the pieces that training reads, one latent vector each."""
        return Reading(longest, overlap=longest // 2)

    def latent(self, batch: SequenceBatch) -> Tensor:
        """Return (N, Z) what the bottleneck holds of each sequence."""
        x_TD = self.embedding(batch.codes_TF, batch.values_TG, self.log_gaps(batch)[0])
        _, after_TD = self.encoder(x_TD, self.start.expand(len(batch.entity_N), -1), batch.cu_seqlens, batch.longest)
        pooled = mean_by_sequence(after_TD, batch.cu_seqlens), last_of_sequence(after_TD, batch.cu_seqlens)
        latent_NZ: Tensor = self.squeeze(torch.cat(pooled, dim=1))
        return latent_NZ

    def embed(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (N, Z)."""
        return self.latent(batch)

    def states(self, batch: SequenceBatch, carry: Carry | None = None) -> tuple[Tensor, Tensor]:
        """Return what the decoder says of each event, and of what comes after it, (T, D) each."""
        return self.decode(batch, self.latent(batch))

    def residuals(self, batch: SequenceBatch, carry: Carry | None = None) -> Residuals:
        """Return everything the statistics need, and the latent vectors as embedding."""
        latent_NZ = self.latent(batch)
        return self._judge(batch, *self.decode(batch, latent_NZ), latent_NZ)

    def decode(self, batch: SequenceBatch, latent_NZ: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's states before and after each event, given the latent vectors."""
        known_ND = self.unsqueeze(latent_NZ)
        if self.profile is not None:
            known_ND = known_ND + self.profile(self._shown_entities(batch.entity_N))
        known_TD = known_ND.repeat_interleave(batch.lengths_N, dim=0, output_size=len(batch.codes_TF))
        place_T = positions(batch.cu_seqlens, len(batch.codes_TF))
        x_TD = known_TD + sinusoids(place_T, known_ND.shape[1])
        before_TD, after_TD = self.decoder(x_TD, known_ND, batch.cu_seqlens, batch.longest)
        return before_TD + known_TD, after_TD + known_TD

    def _squeezed(self, latent: int) -> int:
        """Return the width of what the encoder says of the latent vector."""
        return latent

    def _encodes_causally(self) -> bool:
        return False


class VariationalAutoencoderModel(AutoencoderModel):
    """An autoencoder with noise in its bottleneck, so that the latent space has no gaps (Kingma & Welling 2014).

    The divergence from the prior is charged to a sequence's last event. Scores take the posterior's mean, so that they
    are deterministic.
    """

    def latent(self, batch: SequenceBatch) -> Tensor:
        """Return (N, Z) the mean of the posterior."""
        return self.posterior(batch)[0]

    def posterior(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (N, Z) mean and log-variance."""
        mean_NZ, spread_NZ = super().latent(batch).float().chunk(2, dim=1)
        return mean_NZ, spread_NZ.clamp(-8, 4)

    def losses(self, batch: SequenceBatch) -> Tensor:
        """Return (T,) nats per event, a bound from above."""
        mean_NZ, spread_NZ = self.posterior(batch)
        noise_NZ = torch.randn_like(mean_NZ) if self.training else torch.zeros_like(mean_NZ)
        loss_T = self._nats(batch, *self.decode(batch, mean_NZ + noise_NZ * (0.5 * spread_NZ).exp()))
        divergence_NZ = 0.5 * (mean_NZ.square() + spread_NZ.exp() - 1 - spread_NZ)
        return loss_T.index_add(0, batch.cu_seqlens[1:] - 1, divergence_NZ.clamp(min=FREE_NATS).sum(dim=1))

    def _squeezed(self, latent: int) -> int:
        return 2 * latent
