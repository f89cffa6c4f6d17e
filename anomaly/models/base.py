"""What every network of sequences shares: events to states, profiles of entities, losses and their trimming.

Shapes: T packed events, N sequences, S training sequences, F fields, G numeric fields, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.events.binning import MISSING
from anomaly.models.ranks import over_ranks
from anomaly.nn.adversarial import adversarial_losses
from anomaly.nn.embedding import EventEmbedding
from anomaly.nn.encoders import Cell, build_encoder
from anomaly.nn.pooling import mean_by_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anomaly.nn.encoders import Carry
    from anomaly.sequences.augment import Augmentation
    from anomaly.sequences.batch import SequenceBatch
    from anomaly.sequences.store import SequenceStore

SMALLEST_GAP = 1e-6
"""Seconds: the resolution of the stored times."""
CHUNK = 512
"""Events of a piece where the state is carried from piece to piece."""


@dataclass(frozen=True)
class Reading:
    """How sequences are cut into pieces to be scored.

    Attributes
    ----------
    longest, overlap : events of a piece, and how many of them were in the piece before
    carried : whether the state at the end of a piece is where the next one begins, so that pieces come in order
    """

    longest: int
    overlap: int = 0
    carried: bool = False


class SequenceNetwork(nn.Module):
    """Packed sequences to a loss and an embedding.

    Parameters
    ----------
    sizes : codes of each of the F fields
    n_values : G
    n_entities : entity codes, the unknown one included; 1 means no profiles
    n_sequences : training sequences, whose last loss decides who is trimmed
    gap_mean, gap_std : of the log of the positive training gaps; a std of 0 means there is no time
    closed : whether the end of a sequence means something
    unread : fields that are predicted and never read, such as the clock's: what was done tells when, and a past hour
        tells little that the gaps do not, at the price of an input to overfit on
    ordered : fields whose codes rise with a number
    cell : "gru", "lstm", "tcn" (dilated causal convolutions) or "transformer"
    width, layers, heads : D, depth, attention heads
    dropout, entity_dropout : rates; the latter hides the entity's profile, so that one model holds both
        the entity's habits and the population's
    trim : share of the training sequences, those with the largest loss, that does not train (Shen & Sanghavi 2019)
    learning_rate, weight_decay : of AdamW
    """

    options: ClassVar[tuple[str, ...]] = (
        *("cell", "width", "layers", "heads", "dropout", "entity_dropout", "trim"),
        *("learning_rate", "weight_decay", "random_state"),
    )
    """Arguments that are a choice, and not a property of the data."""
    profiled: ClassVar[bool] = True
    """Whether the model may know whose sequence it reads."""
    causal: ClassVar[bool] = True
    """Whether an event's residuals know nothing of later events."""
    smallest_batch: ClassVar[int] = 128
    """Padded events of a training batch, at least, where their number is left open."""

    kept_S: Tensor
    loss_S: Tensor
    weight_S: Tensor

    augment: Augmentation | None = None
    """What is done to training batches; a property of the training, not of the model."""
    adversarial: float = 0.0
    """Size of the shifts of embedded events that are trained against."""

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
        unread: Sequence[int] = (),
        ordered: Sequence[int] = (),
        cell: Cell = "gru",
        width: int = 128,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        entity_dropout: float = 0.3,
        trim: float = 0.02,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        self.params = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.params |= {"sizes": tuple(sizes), "unread": tuple(unread), "ordered": tuple(ordered)}
        self.embedding = EventEmbedding(
            sizes=sizes, n_values=n_values, width=width, has_time=gap_std > 0, dropout=dropout, unread=unread
        )
        self.start = nn.Parameter(torch.zeros(width))
        self.profile = nn.Embedding(n_entities, width, padding_idx=0) if n_entities > 1 and self.profiled else None
        if self.profile is not None:
            nn.init.normal_(self.profile.weight[1:], std=0.1)
        self.encoder = build_encoder(
            cell, width=width, layers=layers, heads=heads, dropout=dropout, causal=self._encodes_causally()
        )
        self.register_buffer("kept_S", torch.ones(n_sequences, dtype=torch.bool))
        self.register_buffer("loss_S", torch.zeros(n_sequences))
        self.register_buffer("weight_S", torch.zeros(n_sequences))

    @classmethod
    def for_store(cls, store: SequenceStore, **options: Any) -> Self:
        """Build the model that a store's columns call for, with the training store's scale of time."""
        log_gap = np.log(np.maximum(positive_gaps(store), SMALLEST_GAP))
        timed = store.has_time and len(log_gap) > 1
        model = cls(
            sizes=store.sizes,
            n_values=len(store.value_names),
            n_entities=store.n_entities,
            n_sequences=len(store),
            gap_mean=float(log_gap.mean()) if timed else 0.0,
            gap_std=max(float(log_gap.std()), 0.1) if timed else 0.0,
            closed=store.closed,
            unread=unread_fields(store),
            ordered=ordered_fields(store),
            **options,
        )
        if model.profile is not None:
            # An entity that nothing is learnt of is as good as unknown.
            absent = np.setdiff1d(np.arange(store.n_entities), store.entity)
            with torch.no_grad():
                model.profile.weight[torch.from_numpy(absent)] = 0.0
        return model

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return self.start.device

    @property
    def embedding_width(self) -> int:
        """Return the number of columns of `embed`."""
        return int(self.params["width"])

    def reading(self, longest: int) -> Reading:
        """Return how to cut sequences for scoring, given how long the pieces of training are."""
        if self.encoder.carries:
            return Reading(CHUNK, carried=True)
        if self.encoder.past is not None:
            # A sixteenth of what is read is read twice.
            return Reading(16 * (self.encoder.past + 1), overlap=self.encoder.past + 1)
        return Reading(longest, overlap=longest // 2)

    def states(self, batch: SequenceBatch, carry: Carry | None = None) -> tuple[Tensor, Tensor]:
        """Return what is known before and after each event, (T, D) each."""
        before_TD, after_TD, profile_TD = self._encoded(batch, carry)
        return (before_TD, after_TD) if profile_TD is None else (before_TD + profile_TD, after_TD + profile_TD)

    def states_to_carry(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (T, D) the states before each event as an open encoder carries them."""
        return self._encoded(batch, carry)[0]

    def embed(self, batch: SequenceBatch, carry: Carry | None = None) -> Tensor:
        """Return (N, D), the mean state of each sequence."""
        return mean_by_sequence(self.states(batch, carry)[1], batch.cu_seqlens)

    @abstractmethod
    def sequence_losses(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (N,) the loss of each sequence, and (N,) what it counts; the mean is trained on."""

    def begin_training(self, batches: Iterable[SequenceBatch]) -> None:
        """Learn what is fixed before the first step."""

    def training_loss(self, batch: SequenceBatch) -> Tensor:
        """Return a batch's share of the mean loss over the sequences that are kept, on all ranks."""
        batch = batch if self.augment is None else self.augment(batch)
        loss_N, weight_N = self.losses_to_train_on(batch)
        self.loss_S.index_add_(0, batch.index_N, loss_N.detach().float())
        self.weight_S.index_add_(0, batch.index_N, weight_N.float())
        kept_N = self.kept_S[batch.index_N].to(loss_N.dtype)
        weight = over_ranks((kept_N * weight_N).sum())
        return (kept_N * loss_N).sum() / weight.clamp(min=1)

    def epoch_loss(self) -> Tensor:
        """Return the mean loss of what this epoch has trained on so far, on all ranks."""
        loss_S, weight_S = over_ranks(self.loss_S), over_ranks(self.weight_S)
        return (self.kept_S * loss_S).sum() / (self.kept_S * weight_S).sum().clamp(min=1)

    def begin_epoch(self, number: int) -> None:
        """Trim the sequences with the largest mean loss of the last epoch, which a checkpoint holds."""
        if number:
            loss_S, weight_S = over_ranks(self.loss_S), over_ranks(self.weight_S)
            self.kept_S = self.within_trim(loss_S / weight_S.clamp(min=1))
        self.loss_S.zero_()
        self.weight_S.zero_()

    def within_trim(self, mean_S: Tensor) -> Tensor:
        """Mark all sequences but the share with the largest mean loss that is trimmed."""
        trim = float(self.params["trim"])
        if trim <= 0 or not len(mean_S):
            return torch.ones_like(mean_S, dtype=torch.bool)
        return mean_S <= torch.quantile(_sample(mean_S), 1 - trim)

    def losses_to_train_on(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return `sequence_losses`, against the worst small shift of the embedded events where that is asked for."""
        if self.adversarial <= 0:
            return self.sequence_losses(batch)
        return adversarial_losses(self.embedding, lambda: self.sequence_losses(batch), self.adversarial)

    def log_gaps(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return (T,) the standardised log-gap, NaN where no gap exists, and (T,) whether it is zero."""
        gap_T = batch.delta_T.masked_fill(batch.first_T(), torch.nan)
        mean, std = float(self.params["gap_mean"]), float(self.params["gap_std"])
        return (gap_T.clamp(min=SMALLEST_GAP).log() - mean) / (std or 1.0), gap_T < SMALLEST_GAP

    def _encoded(self, batch: SequenceBatch, carry: Carry | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the encoder's states before and after each event, and the profile of its entity, (T, D) each."""
        x_TD = self.embedding(batch.codes_TF, batch.values_TG, self.log_gaps(batch)[0])
        start_ND = self.start.expand(len(batch.entity_N), -1)
        if self.profile is None:
            return *self.encoder(x_TD, start_ND, batch.cu_seqlens, batch.longest, carry), None
        profile_ND = self.profile(self._shown_entities(batch.entity_N))
        profile_TD = profile_ND.repeat_interleave(batch.lengths_N, dim=0, output_size=len(x_TD))
        start_ND = start_ND + profile_ND
        return *self.encoder(x_TD + profile_TD, start_ND, batch.cu_seqlens, batch.longest, carry), profile_TD

    def _encodes_causally(self) -> bool:
        return self.causal

    def _shown_entities(self, entity_N: Tensor) -> Tensor:
        if not self.training:
            return entity_N
        shown_N = torch.rand(len(entity_N), device=entity_N.device) >= float(self.params["entity_dropout"])
        return entity_N * shown_N


def positive_gaps(store: SequenceStore) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the gaps of a store that are longer than zero; neither a sequence's start nor a shared time has one."""
    delta = np.asarray(store.delta)
    return delta[np.nan_to_num(delta) > SMALLEST_GAP]


def unread_fields(store: SequenceStore) -> tuple[int, ...]:
    """Return the places of the clock's fields; none where there is nothing else."""
    clock = tuple(f for f, field in enumerate(store.fields) if field.kind == "clock")
    return clock if len(clock) < len(store.fields) else ()


def ordered_fields(store: SequenceStore) -> tuple[int, ...]:
    """Return the places of the fields whose codes rise with a number."""
    return tuple(f for f, field in enumerate(store.fields) if field.kind == "numeric" and field.size > MISSING + 1)


def _sample(x: Tensor, most: int = 1 << 20) -> Tensor:
    """Thin a long vector evenly: torch.quantile refuses more than 16 million values."""
    return x[:: max(len(x) // most, 1)]
