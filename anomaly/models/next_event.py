"""The next-event model: every field of the next event, its time and the sequence's end, from what came before.

Shapes: T packed events, N sequences, F fields, G numeric fields, D width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from anomaly.nn.density import GapDensity
from anomaly.nn.embedding import EventEmbedding
from anomaly.nn.encoders import GRUEncoder, TransformerEncoder
from anomaly.nn.heads import ConditionalHeads
from anomaly.nn.residuals import Residuals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig

    from anomaly.sequences.batch import SequenceBatch
    from anomaly.sequences.store import SequenceStore

SMALLEST_GAP = 1e-6
"""Seconds: the resolution of the stored times."""


class NextEventModel(pl.LightningModule):
    """Causal density of whole event sequences.

    Parameters
    ----------
    sizes : codes of each of the F fields
    n_values : G
    n_entities : entity codes, the unknown one included; 1 means no profiles
    n_sequences : training sequences, whose last loss decides who is trimmed
    gap_mean, gap_std : of the log of the positive training gaps; a std of 0 means there is no time
    closed : whether the end of a sequence means something
    cell : "gru" or "transformer"
    width, layers, heads, mixture : D, depth, attention heads, components of the gap density
    dropout, entity_dropout : rates; the latter hides the entity's profile, so that one model holds both
        the entity's habits and the population's
    trim : share of the training sequences, those with the largest loss, that does not train (Shen & Sanghavi 2019)
    learning_rate, weight_decay : of AdamW
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        n_values: int = 0,
        n_entities: int = 1,
        n_sequences: int = 0,
        gap_mean: float = 0.0,
        gap_std: float = 0.0,
        closed: bool = True,
        cell: Literal["gru", "transformer"] = "gru",
        width: int = 128,
        layers: int = 1,
        heads: int = 4,
        mixture: int = 8,
        dropout: float = 0.1,
        entity_dropout: float = 0.3,
        trim: float = 0.02,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        self.params = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.params["sizes"] = tuple(sizes)
        self.embedding = EventEmbedding(
            sizes=sizes, n_values=n_values, width=width, has_time=gap_std > 0, dropout=dropout
        )
        self.start = nn.Parameter(torch.zeros(width))
        self.profile = nn.Embedding(n_entities, width, padding_idx=0) if n_entities > 1 else None
        if self.profile is not None:
            nn.init.normal_(self.profile.weight[1:], std=0.1)
        self.encoder: nn.Module = (
            GRUEncoder(width=width, layers=layers, dropout=dropout)
            if cell == "gru"
            else TransformerEncoder(width=width, layers=layers, heads=heads, dropout=dropout)
        )
        self.field_heads = ConditionalHeads(sizes=sizes, width=width, dropout=dropout)
        self.gap_head = GapDensity(width=width, components=mixture) if gap_std > 0 else None
        self.end_head = nn.Linear(width, 1) if closed else None
        self.register_buffer("kept_S", torch.ones(n_sequences, dtype=torch.bool))
        self.register_buffer("loss_S", torch.zeros(n_sequences))

    @classmethod
    def for_store(cls, store: SequenceStore, **options: Any) -> NextEventModel:
        """Build the model that a store's columns call for, with the training store's scale of time."""
        log_gap = np.log(np.maximum(positive_gaps(store), SMALLEST_GAP))
        timed = store.has_time and len(log_gap) > 1
        return cls(
            sizes=store.sizes,
            n_values=len(store.value_names),
            n_entities=store.n_entities,
            n_sequences=len(store),
            gap_mean=float(log_gap.mean()) if timed else 0.0,
            gap_std=max(float(log_gap.std()), 0.1) if timed else 0.0,
            closed=store.closed,
            **options,
        )

    def states(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return what is known before and after each event, (T, D) each."""
        log_gap_T, _ = self._gaps(batch)
        x_TD = self.embedding(batch.codes_TF, batch.values_TG, log_gap_T)
        start_ND = self.start.expand(len(batch.entity_N), -1)
        if self.profile is None:
            return self.encoder(x_TD, start_ND, batch.cu_seqlens)  # type: ignore[no-any-return]
        profile_ND = self.profile(self._shown_entities(batch.entity_N))
        profile_TD = profile_ND.repeat_interleave(batch.lengths_N, dim=0)
        before_TD, after_TD = self.encoder(x_TD + profile_TD, start_ND + profile_ND, batch.cu_seqlens)
        return before_TD + profile_TD, after_TD + profile_TD

    def residuals(self, batch: SequenceBatch) -> Residuals:
        """Return everything the statistics need; the cost of one forward pass and the entropies."""
        before_TD, after_TD = self.states(batch)
        contexts_FTD = self.field_heads.contexts(before_TD, batch.codes_TF, whole=self.gap_head is not None)
        surprisal_TF, expected_TF, tail_TF = self.field_heads.score(contexts_FTD, batch.codes_TF)
        gap_T, pit_T = self._gap_surprisal(batch, contexts_FTD[-1])
        going_T, end_N = self._end_surprisal(batch, before_TD, after_TD)
        if self.end_head is not None:
            surprisal_TF = torch.cat([surprisal_TF, going_T[:, None]], dim=1)
            expected_TF, tail_TF = _with_going(expected_TF, tail_TF, going_T)
        embedding_ND = mean_by_sequence(after_TD, batch.cu_seqlens)
        return Residuals(surprisal_TF, expected_TF, tail_TF, gap_T, pit_T, end_N, embedding_ND)

    def predicted(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the columns of the residuals, given those of the store's fields."""
        return (*fields, "end") if self.end_head is not None else tuple(fields)

    def surprisal(self, batch: SequenceBatch) -> Tensor:
        """Return (T, F) nats of the fields alone: all that a second pass needs."""
        before_TD, _ = self.states(batch)
        contexts_FTD = self.field_heads.contexts(before_TD, batch.codes_TF, whole=False)
        return self.field_heads.surprisal(contexts_FTD, batch.codes_TF)

    def embed(self, batch: SequenceBatch) -> Tensor:
        """Return (N, D), the mean state of each sequence."""
        return mean_by_sequence(self.states(batch)[1], batch.cu_seqlens)

    def losses(self, batch: SequenceBatch) -> Tensor:
        """Return (T,) nats per event; the end of a sequence is charged to its last event."""
        before_TD, after_TD = self.states(batch)
        contexts_FTD = self.field_heads.contexts(before_TD, batch.codes_TF, whole=self.gap_head is not None)
        loss_T = self.field_heads.surprisal(contexts_FTD, batch.codes_TF).sum(dim=1)
        gap_T, _ = self._gap_surprisal(batch, contexts_FTD[-1])
        going_T, end_N = self._end_surprisal(batch, before_TD, after_TD)
        last_N = batch.cu_seqlens[1:] - 1
        return (loss_T + gap_T + going_T).index_add(0, last_N, end_N)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """Return the mean loss over the events of the sequences that are kept."""
        loss_T = self.losses(batch)
        loss_N = sum_by_sequence(loss_T, batch.cu_seqlens)
        mean_N = loss_N.detach() / batch.lengths_N.clamp(min=1)
        self.loss_S[batch.index_N] = mean_N  # type: ignore[operator]
        kept_N = self.kept_S[batch.index_N].to(loss_N.dtype)
        loss = (kept_N * loss_N).sum() / (kept_N * batch.lengths_N).sum().clamp(min=1)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(loss_T))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's held-out losses."""
        self._held_out: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Keep the held-out loss of every sequence."""
        loss_N = sum_by_sequence(self.losses(batch), batch.cu_seqlens)
        self._held_out.append((loss_N, batch.lengths_N))

    def on_validation_epoch_end(self) -> None:
        """Log the held-out loss per event, trimmed as the training's is; it stops the training early."""
        loss_S, length_S = (torch.cat(parts) for parts in zip(*self._held_out, strict=True))
        kept_S = self._within_trim(loss_S / length_S.clamp(min=1))
        self.log("held_out_loss", (kept_S * loss_S).sum() / (kept_S * length_S).sum().clamp(min=1))

    def on_train_epoch_start(self) -> None:
        """Trim the sequences with the largest loss of the last epoch, which a checkpoint holds."""
        if self.current_epoch:
            self.kept_S = self._within_trim(self.loss_S)  # type: ignore[arg-type]

    def on_train_batch_start(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Seed the epoch by its number, so that a resumed training draws what an undisturbed one draws."""
        # Not before the first batch: a loader draws a number when it starts, and a resumed one starts earlier.
        if batch_idx == 0:
            torch.manual_seed(int(self.params["random_state"]) * 100_003 + self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a short warm-up and a cosine decay over all planned steps."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=float(self.params["learning_rate"]), weight_decay=float(self.params["weight_decay"])
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = min(100, max(steps // 10, 1))

        def rate(step: int) -> float:
            return min((step + 1) / warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _within_trim(self, mean_S: Tensor) -> Tensor:
        """Mark all sequences but the share with the largest mean loss that is trimmed."""
        trim = float(self.params["trim"])
        if trim <= 0 or not len(mean_S):
            return torch.ones_like(mean_S, dtype=torch.bool)
        return mean_S <= torch.quantile(_sample(mean_S), 1 - trim)

    def _shown_entities(self, entity_N: Tensor) -> Tensor:
        if not self.training:
            return entity_N
        shown_N = torch.rand(len(entity_N), device=entity_N.device) >= float(self.params["entity_dropout"])
        return entity_N * shown_N

    def _gaps(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return the standardised log-gap (NaN where no gap exists) and whether it is zero."""
        gap_T = batch.delta_T.clone()
        gap_T[batch.cu_seqlens[:-1][batch.starts_N & (batch.lengths_N > 0)]] = torch.nan
        mean, std = float(self.params["gap_mean"]), float(self.params["gap_std"])
        return (gap_T.clamp(min=SMALLEST_GAP).log() - mean) / (std or 1.0), gap_T < SMALLEST_GAP

    def _gap_surprisal(self, batch: SequenceBatch, context_TD: Tensor) -> tuple[Tensor, Tensor]:
        log_gap_T, zero_T = self._gaps(batch)
        if self.gap_head is None:
            return torch.zeros_like(log_gap_T), torch.full_like(log_gap_T, torch.nan)
        known_T = ~log_gap_T.isnan()
        surprisal_T, pit_T = self.gap_head(context_TD, log_gap_T.nan_to_num(0.0), zero_T)
        return torch.where(known_T, surprisal_T, 0.0), torch.where(known_T, pit_T, torch.nan)

    def _end_surprisal(self, batch: SequenceBatch, before_TD: Tensor, after_TD: Tensor) -> tuple[Tensor, Tensor]:
        if self.end_head is None:
            return before_TD.new_zeros(len(before_TD)), before_TD.new_zeros(len(batch.entity_N))
        going_T = nn.functional.softplus(self.end_head(before_TD)[:, 0].float())
        going_T = going_T.index_fill(0, batch.cu_seqlens[:-1][batch.starts_N & (batch.lengths_N > 0)], 0.0)
        last_N = (batch.cu_seqlens[1:] - 1).clamp(min=0)
        end_N = nn.functional.softplus(-self.end_head(after_TD[last_N])[:, 0].float())
        return going_T, torch.where(batch.ends_N, end_N, 0.0)


def _with_going(expected_TF: Tensor, tail_TF: Tensor, going_T: Tensor) -> tuple[Tensor, Tensor]:
    """Append what was to be expected of the choice between ending and going on, and its tail."""
    q_T = (-going_T).exp()
    p_T = (1 - q_T).clamp(min=1e-12)
    entropy_T = q_T * going_T - p_T * p_T.log()
    tail_T = torch.where(q_T <= p_T, 0.5 * q_T, 1 - 0.5 * q_T)
    return torch.cat([expected_TF, entropy_T[:, None]], dim=1), torch.cat([tail_TF, tail_T[:, None]], dim=1)


def sum_by_sequence(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Sum packed rows, (T,) or (T, D), within each sequence."""
    lengths_N = cu_seqlens.diff()
    place_T = torch.arange(len(lengths_N), device=x.device).repeat_interleave(lengths_N)
    return x.new_zeros(len(lengths_N), *x.shape[1:]).index_add(0, place_T, x)


def mean_by_sequence(x_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Average packed rows (T, D) within each sequence; zeros where it is empty."""
    return sum_by_sequence(x_TD, cu_seqlens) / cu_seqlens.diff().clamp(min=1)[:, None]


def positive_gaps(store: SequenceStore) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the gaps of a store that are longer than zero; neither a sequence's start nor a shared time has one."""
    delta = np.asarray(store.delta)
    return delta[np.nan_to_num(delta) > SMALLEST_GAP]


def _sample(x: Tensor, most: int = 1 << 20) -> Tensor:
    """Thin a long vector evenly: torch.quantile refuses more than 16 million values."""
    return x[:: max(len(x) // most, 1)]
