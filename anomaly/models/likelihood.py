"""Models that give every event a probability: fields one after another, then the time, then the sequence's end.

Shapes: T packed events, R of them that are judged, N sequences, F fields, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.models.base import SequenceNetwork
from anomaly.nn.density import GapDensity
from anomaly.nn.heads import ConditionalHeads
from anomaly.nn.pooling import mean_by_sequence, sum_by_sequence
from anomaly.nn.residuals import Residuals
from anomaly.nn.shapes import by_rows, filled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anomaly.nn.encoders import Carry
    from anomaly.sequences.batch import SequenceBatch

ROWS_AT_ONCE = 2048
"""Events whose contexts are held at a time on a CPU: those of a whole batch would be fetched from memory again."""


class LikelihoodModel(SequenceNetwork):
    """Density of events given the states that `states` returns.

    Parameters
    ----------
    mixture : components of the gap density
    """

    options: ClassVar[tuple[str, ...]] = (*SequenceNetwork.options, "mixture")
    predicts_end: ClassVar[bool] = True

    def __init__(self, *, mixture: int = 8, **shared: Any) -> None:
        super().__init__(**shared)
        self.params["mixture"] = mixture
        sizes, width, dropout = self.params["sizes"], int(self.params["width"]), float(self.params["dropout"])
        self.field_heads = ConditionalHeads(sizes=sizes, width=width, dropout=dropout)
        self.gap_head = GapDensity(width=width, components=mixture) if self.params["gap_std"] > 0 else None
        self.end_head = nn.Linear(width, 1) if self.params["closed"] and self.predicts_end else None

    def residuals(self, batch: SequenceBatch, carry: Carry | None = None) -> Residuals:
        """Return everything the statistics need of the R judged events; one forward pass and the entropies."""
        before_TD, after_TD = self.states(batch, carry)
        return self._judge(batch, before_TD, after_TD, mean_by_sequence(after_TD, batch.cu_seqlens))

    def predicted(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the columns of the residuals, given those of the store's fields."""
        return (*fields, "end") if self.end_head is not None else tuple(fields)

    def surprisal(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (R, F) nats of the fields of the judged events alone: all that a second pass needs."""
        before_TD, _ = self.states(batch, carry)
        before_RD, codes_RF, _ = _judged(batch, before_TD)
        heads = self.field_heads
        parts = [heads.surprisal(heads.contexts(x, c, whole=False), c) for x, c in _parts(before_RD, codes_RF)]
        return torch.cat(parts)[: len(before_RD)]

    def losses(self, batch: SequenceBatch) -> Tensor:
        """Return (T,) nats per event, 0 where it is not judged; a sequence's end is charged to its last event."""
        return self._nats(batch, *self.states(batch))

    def sequence_losses(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (N,) nats of each sequence and its number of judged events."""
        judged_N = batch.lengths_N if batch.past_N is None else batch.lengths_N - batch.past_N
        return sum_by_sequence(self.losses(batch), batch.cu_seqlens), judged_N

    def _judge(self, batch: SequenceBatch, before_TD: Tensor, after_TD: Tensor, embedding_ND: Tensor) -> Residuals:
        before_RD, codes_RF, rows_R = _judged(batch, before_TD)
        gaps = (x[rows_R] for x in self.log_gaps(batch))
        parts = [self._judge_events(*part) for part in _parts(before_RD, codes_RF, *gaps)]
        surprisal_RF, expected_RF, tail_RF, upper_RG, gap_R, pit_R = (
            torch.cat(x)[: len(before_RD)] for x in zip(*parts, strict=True)
        )
        going_T, end_N = self._end_surprisal(batch, before_TD, after_TD)
        if self.end_head is not None:
            going_R = going_T[rows_R]
            surprisal_RF = torch.cat([surprisal_RF, going_R[:, None]], dim=1)
            expected_RF, tail_RF = _with_going(expected_RF, tail_RF, going_R)
        return Residuals(surprisal_RF, expected_RF, tail_RF, upper_RG, gap_R, pit_R, end_N, embedding_ND)

    def _judge_events(
        self, before_RD: Tensor, codes_RF: Tensor, log_gap_R: Tensor, zero_R: Tensor
    ) -> tuple[Tensor, ...]:
        """Return surprisal, entropy, tail and upper tail of the fields, surprisal and transform of the gaps."""
        heads = self.field_heads
        contexts_F = heads.contexts(before_RD, codes_RF, whole=self.gap_head is not None)
        upper_RG = heads.upper_tail(contexts_F, codes_RF, self.params["ordered"])
        gap_R, pit_R = self._gap_surprisal(contexts_F[-1], log_gap_R, zero_R)
        return *heads.score(contexts_F, codes_RF), upper_RG, gap_R, pit_R

    def _nats(self, batch: SequenceBatch, before_TD: Tensor, after_TD: Tensor) -> Tensor:
        before_RD, codes_RF, rows_R = _judged(batch, before_TD)
        surprisal_RF, gap_R = self._event_nats(before_RD, codes_RF, *(x[rows_R] for x in self.log_gaps(batch)))
        going_T, end_N = self._end_surprisal(batch, before_TD, after_TD)
        loss_T, last_N = surprisal_RF.sum(dim=1) + gap_R + going_T[rows_R], batch.cu_seqlens[1:] - 1
        if isinstance(rows_R, Tensor):
            loss_T = loss_T.new_zeros(len(before_TD)).index_add(0, rows_R, loss_T)
        return loss_T.index_add(0, last_N, end_N)

    def _event_nats(
        self, before_RD: Tensor, codes_RF: Tensor, log_gap_R: Tensor, zero_R: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return surprisal of the fields, and of the gaps, of some events to be trained on."""
        n, before_RD, codes_RF = len(before_RD), filled(before_RD), filled(codes_RF)
        contexts_F = self.field_heads.contexts(before_RD, codes_RF, whole=self.gap_head is not None)
        gap_R, _ = self._gap_surprisal(contexts_F[-1], filled(log_gap_R), filled(zero_R))
        return self.field_heads.surprisal(contexts_F, codes_RF)[:n], gap_R[:n]

    def _gap_surprisal(self, context_TD: Tensor, log_gap_T: Tensor, zero_T: Tensor) -> tuple[Tensor, Tensor]:
        """Return surprisal and transform of the gaps of some events."""
        if self.gap_head is None:
            return torch.zeros_like(log_gap_T), torch.full_like(log_gap_T, torch.nan)
        known_T = ~log_gap_T.isnan()
        surprisal_T, pit_T = self.gap_head(context_TD, log_gap_T.nan_to_num(0.0), zero_T)
        return torch.where(known_T, surprisal_T, 0.0), torch.where(known_T, pit_T, torch.nan)

    def _end_surprisal(self, batch: SequenceBatch, before_TD: Tensor, after_TD: Tensor) -> tuple[Tensor, Tensor]:
        if self.end_head is None:
            return before_TD.new_zeros(len(before_TD)), before_TD.new_zeros(len(batch.entity_N))
        going_T = nn.functional.softplus(by_rows(self.end_head, before_TD)[:, 0].float())
        going_T = going_T.masked_fill(batch.first_T(), 0.0)
        last_N = (batch.cu_seqlens[1:] - 1).clamp(min=0)
        end_N = nn.functional.softplus(-by_rows(self.end_head, after_TD[last_N])[:, 0].float())
        return going_T, torch.where(batch.ends_N, end_N, 0.0)


def _judged(batch: SequenceBatch, before_TD: Tensor) -> tuple[Tensor, Tensor, Tensor | slice]:
    """Return the states before the judged events, their codes and their places."""
    rows_R = batch.judged_R()
    if rows_R is None:
        return before_TD, batch.codes_TF, slice(None)
    return before_TD[rows_R], batch.codes_TF[rows_R], rows_R


def _parts(*columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the rows of some columns, a few thousand at a time on a CPU, the last ones filled up."""
    rows = ROWS_AT_ONCE if columns[0].device.type == "cpu" else max(len(columns[0]), 1)
    parts = zip(*(torch.split(column, rows) for column in columns), strict=True)
    return (tuple(map(filled, part)) for part in parts)


def _with_going(expected_TF: Tensor, tail_TF: Tensor, going_T: Tensor) -> tuple[Tensor, Tensor]:
    """Append what was to be expected of the choice between ending and going on, and its tail."""
    q_T = (-going_T).exp()
    p_T = (1 - q_T).clamp(min=1e-12)
    entropy_T = q_T * going_T - p_T * p_T.log()
    tail_T = torch.where(q_T <= p_T, 0.5 * q_T, 1 - 0.5 * q_T)
    return torch.cat([expected_TF, entropy_T[:, None]], dim=1), torch.cat([tail_TF, tail_T[:, None]], dim=1)
