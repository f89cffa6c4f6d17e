"""Masked reconstruction: hidden events and fields from both sides of them.

Shapes: T packed events, N sequences, F fields, D width, R events with something hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.errors import ConfigError
from anomaly.models.likelihood import LikelihoodModel
from anomaly.nn.pooling import positions
from anomaly.sequences.store import PAD

if TYPE_CHECKING:
    from anomaly.nn.encoders import Carry
    from anomaly.sequences.batch import SequenceBatch

FIELD_RATE = 0.1
"""Share of the fields of events in sight that training hides."""


class MaskedModel(LikelihoodModel):
    """Density of each event given the events around it (after Devlin et al. 2019, BERT).

    Every `masks`-th event is hidden. Training draws which one comes first; scoring goes through all of them, so that
    every event is hidden once, and a score is deterministic. The event's fields are told one after another, as in
    every model; training also hides single fields of events in sight.

    Parameters
    ----------
    masks : passes that together hide every event
    """

    options: ClassVar[tuple[str, ...]] = (*LikelihoodModel.options, "masks")
    causal: ClassVar[bool] = False
    predicts_end: ClassVar[bool] = False

    def __init__(self, *, masks: int = 4, **shared: Any) -> None:
        super().__init__(**shared)
        if self.params["cell"] != "transformer":
            raise ConfigError(f"cell={self.params['cell']} reads one way only; a masked model needs cell=transformer")
        if masks < 2:
            raise ConfigError(f"masks={masks} would hide whole sequences; give 2 or more")
        self.params["masks"] = masks
        self.masks = masks
        self.hidden = nn.Parameter(torch.randn(int(self.params["width"])))

    def states(self, batch: SequenceBatch, carry: Carry | None = None) -> tuple[Tensor, Tensor]:
        """Return what the others say of each event (T, D), twice: there is no before and after."""
        x_TD = self.embedding(batch.codes_TF, batch.values_TG, self.log_gaps(batch)[0])
        turn_T = positions(batch.cu_seqlens, len(x_TD)) % self.masks
        state_TD = torch.zeros_like(x_TD)
        for turn in range(self.masks):
            hidden_T1 = (turn_T == turn)[:, None]
            state_TD = torch.where(hidden_T1, self._look(batch, torch.where(hidden_T1, self.hidden, x_TD)), state_TD)
        return state_TD, state_TD

    def losses(self, batch: SequenceBatch) -> Tensor:
        """Return (T,) nats; while training those of the hidden, in proportion to how seldom an event is hidden."""
        if not self.training:
            return super().losses(batch)
        hidden_T, lost_TF = self._hide(batch)
        shown_TF = batch.codes_TF.masked_fill(lost_TF, PAD)
        values_TG = batch.values_TG * ~lost_TF.any(dim=1)[:, None]
        x_TD = self.embedding(shown_TF, values_TG, self.log_gaps(batch)[0])
        state_TD = self._look(batch, torch.where(hidden_T[:, None], self.hidden, x_TD))
        rows_R = (hidden_T | lost_TF.any(dim=1)).nonzero()[:, 0]
        told = (state_TD, batch.codes_TF, *self.log_gaps(batch))
        surprisal_RF, gap_R = self._event_nats(*(x[rows_R] for x in told))
        weight_R1 = torch.where(hidden_T, float(self.masks), 0.0)[rows_R, None]
        loss_R = (surprisal_RF * torch.where(lost_TF[rows_R], weight_R1.clamp(min=1), weight_R1)).sum(dim=1)
        return loss_R.new_zeros(len(hidden_T)).index_add(0, rows_R, loss_R + weight_R1[:, 0] * gap_R)

    def _hide(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Draw the hidden events (T,) and the hidden fields of the others (T, F)."""
        device = batch.codes_TF.device
        first_N = torch.randint(self.masks, (len(batch.entity_N),), device=device)
        place_T = positions(batch.cu_seqlens, len(batch.codes_TF)) + first_N.repeat_interleave(batch.lengths_N)
        return place_T % self.masks == 0, torch.rand(batch.codes_TF.shape, device=device) < FIELD_RATE

    def _look(self, batch: SequenceBatch, x_TD: Tensor) -> Tensor:
        """Return (T, D) the states of all events, each having seen all."""
        start_ND = self.start.expand(len(batch.entity_N), -1)
        if self.profile is None:
            seen_TD: Tensor = self.encoder(x_TD, start_ND, batch.cu_seqlens, batch.longest)[1]
            return seen_TD
        profile_ND = self.profile(self._shown_entities(batch.entity_N))
        profile_TD = profile_ND.repeat_interleave(batch.lengths_N, dim=0, output_size=len(x_TD))
        after_TD: Tensor = self.encoder(x_TD + profile_TD, start_ND + profile_ND, batch.cu_seqlens, batch.longest)[1]
        told_TD: Tensor = after_TD + profile_TD
        return told_TD
