"""A sequence model as a detector: Lightning trains it, a pass over every event yields statistics and evidence.

Shapes: T events, N sequences, F fields, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from anomaly.base import Analysis, EventDetector, Statistics
from anomaly.detectors.blockwise import gathered
from anomaly.detectors.buffer import ResidualBuffer
from anomaly.detectors.trained import SCORING_TOKENS, TrainedDetector
from anomaly.features.segments import blocks, reported
from anomaly.models.objectives import EVENT_MODELS
from anomaly.nn.encoders import Carry
from anomaly.scores.statistics import EventResiduals, event_statistics, gap_evidence, sequence_statistics
from anomaly.sequences.batch import scoring_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly.models.likelihood import LikelihoodModel
    from anomaly.sequences.batch import Pieces, SequenceBatch
    from anomaly.sequences.store import SequenceStore

EVENTS_AT_ONCE = 1 << 18
"""Events scored before their residuals are reduced: bounds the memory of a pass."""


class NeuralDetector(TrainedDetector, EventDetector):
    """Score sequences by how a model of their events is surprised.

    `objective="next_event"` judges an event by what came before it. The others, "autoencoder", "variational" and
    "masked", judge it with the whole sequence at hand: their event scores hold where the sequence is over.
    Nothing can be left out of a network: what it was trained on surprises it less than what is new.
    Parameters are those of `TrainedDetector`.
    """

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return statistics, evidence per event and field, and embeddings, from one pass."""
        self._check_fitted()
        parts = (self.analyse_residuals(block, self._pass(block)) for block in blocks(X, EVENTS_AT_ONCE))
        return gathered(parts, len(X), X.n_events)

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the statistics bank of every sequence."""
        return self.analyse(X).statistics

    def decision_function(self, X: SequenceStore) -> NDArray[np.float64]:
        """Return (N,) the sum over fields of the largest surprisal, the strongest single statistic of the bank."""
        return self.statistics(X).column("fields_largest")

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the F predicted fields, "gap" for the time since the previous event last."""
        return self.fields_

    def score_fields(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (T, F) surprisal in nats; of the gap, minus the log of its two-sided tail probability."""
        return self.analyse(X).fields_TF

    def event_statistics(self, X: SequenceStore) -> Statistics:
        """Return the statistics of every event."""
        return self.analyse(X).event_statistics

    def embed(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (N, D), one vector per sequence."""
        self._check_fitted()
        return self._embed(X)

    def residuals(self, X: SequenceStore) -> EventResiduals:
        """Return what the model says about every event, unreduced: all of it is held in memory."""
        self._check_fitted()
        return self._pass(X)

    def analyse_residuals(self, X: SequenceStore, residuals: EventResiduals) -> Analysis:
        """Return what `analyse` does, from what the model says about the events of the same store."""
        fields_TF = residuals.surprisal_TF
        if "gap" in self.fields_:
            fields_TF = np.column_stack([fields_TF, gap_evidence(residuals)])
        return Analysis(
            statistics=sequence_statistics(residuals if not X.context.any() else residuals.reported(*reported(X))),
            fields_TF=fields_TF,
            event_statistics=event_statistics(residuals, self.fields_),
            embedding_ND=residuals.embedding_ND,
        )

    @property
    def open(self) -> bool:
        """Whether `states` tell all that has been, so that what follows can be judged from them."""
        return self.objective == "next_event" and bool(self.model_.encoder.open)

    @torch.inference_mode()
    def states(self, X: SequenceStore, *, population: bool = False) -> torch.Tensor:
        """Return (T, D) the states before every event, with every entity unknown if asked for."""
        model, carried = self._on_device(), self._carried(X)
        out: torch.Tensor = model.start.new_empty((X.n_events, model.embedding_width))
        for batch, pieces in self._batches(X):
            carry = carried.begin(pieces)
            out[pieces.places() - X.offsets[0]] = model.states_to_carry(
                batch.as_population() if population else batch, carry
            )
            carried.end(pieces, carry)
        return out

    @torch.inference_mode()
    def readings(self, X: SequenceStore) -> Iterator[tuple[SequenceBatch, Pieces, torch.Tensor]]:
        """Yield what scoring reads: batches, their pieces and the (T, D) states from which the events are judged."""
        model, carried = self._on_device(), self._carried(X)
        for batch, pieces in self._batches(X):
            carry = carried.begin(pieces)
            before_TD, _ = model.states(batch, carry)
            carried.end(pieces, carry)
            yield batch, pieces, before_TD

    @torch.inference_mode()
    def residuals_from(
        self, X: SequenceStore, own_ND: torch.Tensor, population_ND: torch.Tensor | None
    ) -> EventResiduals:
        """Return what the model says of short sequences that go on from the given states, none of them a beginning."""
        model, buffer = self._on_device(), self._buffer(X)
        for batch, pieces in scoring_batches(X, SCORING_TOKENS):
            batch = replace(batch, starts_N=torch.zeros_like(batch.starts_N)).to(model.device)
            population_TF = None
            if population_ND is not None:
                carry = Carry(population_ND[None, pieces.sequence].contiguous())
                population_TF = model.surprisal(batch.as_population(), carry)
            buffer.put(model.residuals(batch, Carry(own_ND[None, pieces.sequence].contiguous())), population_TF, pieces)
        return buffer.finish()

    def _model_class(self) -> type[LikelihoodModel]:
        return EVENT_MODELS[self.objective]

    def _learn_scores(self, X: SequenceStore) -> None:
        self.fields_: tuple[str, ...] = self.model_.predicted(X.field_names)
        if self.model_.gap_head is not None:
            self.fields_ += ("gap",)

    @torch.inference_mode()
    def _pass(self, X: SequenceStore) -> EventResiduals:
        """Run the model over every event once, and once more with entities unknown where there are profiles."""
        model, buffer = self._on_device(), self._buffer(X)
        own, population = self._carried(X), self._carried(X)
        for batch, pieces in self._batches(X):
            population_TF = None
            if model.profile is not None:
                carry = population.begin(pieces)
                population_TF = model.surprisal(batch.as_population(), carry)
                population.end(pieces, carry)
            carry = own.begin(pieces)
            buffer.put(model.residuals(batch, carry), population_TF, pieces)
            own.end(pieces, carry)
        return buffer.finish()

    def _buffer(self, X: SequenceStore) -> ResidualBuffer:
        model = self.model_
        kinds = {field.name: field.kind for field in X.fields}
        clock = np.array([kinds.get(name) == "clock" for name in model.predicted(X.field_names)])
        # Where there is nothing but the clock, the clock is what is judged.
        clock &= not clock.all()
        return ResidualBuffer(
            X,
            clock=clock,
            width=model.embedding_width,
            profiles=model.profile is not None,
            closed=model.end_head is not None,
            timed=model.gap_head is not None,
            ordered=tuple(X.field_names[f] for f in model.params["ordered"]),
        )
