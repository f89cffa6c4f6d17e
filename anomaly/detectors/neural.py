"""The next-event model as a detector: Lightning trains it, a causal pass scores every event.

Shapes: T events, N sequences, F fields, D width.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from anomaly.base import Analysis, EventDetector, Statistics
from anomaly.detectors.buffer import ResidualBuffer
from anomaly.errors import DataError
from anomaly.models.next_event import NextEventModel
from anomaly.models.training import TrainingOutcome, TrainingPlan, train_model
from anomaly.scores.statistics import EventResiduals, event_statistics, gap_evidence, sequence_statistics
from anomaly.sequences.datamodule import SequenceDataModule, scoring_batches
from anomaly.sequences.split import latest_per_entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly.models.training import Progress
    from anomaly.sequences.store import SequenceStore

EVENTS_AT_ONCE = 1 << 20
"""Events scored before their residuals are reduced: bounds the memory of a pass."""
SCORING_TOKENS = 1 << 15
"""Padded events of one scoring batch."""


class NextEventDetector(EventDetector):
    """Score sequences by how a causal model of the next event is surprised.

    Parameters
    ----------
    cell : "gru" or "transformer"
    width, layers, heads, mixture, dropout, entity_dropout, trim, learning_rate, weight_decay
        See `anomaly.models.next_event.NextEventModel`.
    max_epochs, patience, precision, accelerator, devices, max_time
        See `anomaly.models.training.TrainingPlan`.
    batch_tokens : padded events of a training batch; "auto" gives an epoch about 60 batches of 128 to 16,384
    longest : training cuts longer sequences into pieces; a transformer also scores in pieces, half of each as context
    random_state : seed
    """

    trains_with_held_out = True

    def __init__(
        self,
        *,
        cell: Literal["gru", "transformer"] = "gru",
        width: int = 128,
        layers: int = 1,
        heads: int = 4,
        mixture: int = 8,
        dropout: float = 0.3,
        entity_dropout: float = 0.3,
        trim: float = 0.05,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        max_epochs: int = 20,
        patience: int = 2,
        batch_tokens: int | Literal["auto"] = "auto",
        longest: int = 128,
        precision: str = "auto",
        accelerator: str = "auto",
        devices: int = 1,
        max_time: str | None = "00:00:08:00",
        random_state: int = 0,
    ) -> None:
        self.cell = cell
        self.width = width
        self.layers = layers
        self.heads = heads
        self.mixture = mixture
        self.dropout = dropout
        self.entity_dropout = entity_dropout
        self.trim = trim
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_tokens = batch_tokens
        self.longest = longest
        self.precision = precision
        self.accelerator = accelerator
        self.devices = devices
        self.max_time = max_time
        self.random_state = random_state

    def fit(
        self,
        X: SequenceStore,
        y: NDArray[np.int64] | None = None,
        *,
        held_out: SequenceStore | None = None,
        workspace: Path | None = None,
        progress: Progress = lambda *_: None,
    ) -> Self:
        """Train on `X`; labels are not used.

        Parameters
        ----------
        held_out : whose likelihood stops the training; `decision_scores_` are then left out. None takes the latest
            tenth of each entity from `X`
        workspace : folder of checkpoints and logs; a training that was killed goes on from what it holds
        progress : called with what is done, steps done and steps in all

        Raises
        ------
        DataError
            If there is no event, no field, or nothing to hold out.
        """
        if not X.fields or not X.n_events:
            raise DataError("nothing to learn from; give at least one event with one categorical or numeric field")
        given, rows = held_out is not None, X
        if held_out is None:
            train, latest = latest_per_entity(X, 0.1, random_state=self.random_state)
            X, held_out = X.take(train), X.take(latest)
        with _folder(workspace) as folder:
            self.model_, outcome = self._train(X, held_out, folder, progress)
        self.curve_ = outcome.curve
        self.stopped_by_time_ = outcome.stopped_by_time
        self.fields_ = self.model_.predicted(X.field_names)
        if self.model_.gap_head is not None:
            self.fields_ += ("gap",)
        # A pass over everything: who brings held-out rows has a use for those, not for these.
        return self if given else self._set_scores(rows)

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return statistics, evidence per event and field, and embeddings, from one pass."""
        self._check_fitted()
        return Analysis.concat([self._analyse_block(block) for block in _blocks(X)])

    def statistics(self, X: SequenceStore) -> Statistics:
        """Return the statistics bank of every sequence."""
        return self.analyse(X).statistics

    def decision_function(self, X: SequenceStore) -> NDArray[np.float64]:
        """Return (N,) the sum over fields of the largest surprisal, the strongest single statistic of the bank."""
        self._check_fitted()
        statistics = self.statistics(X)
        return statistics.values[:, statistics.names.index("fields_largest")]

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
        """Return (N, D), the mean state of each sequence."""
        embedding_ND = self.analyse(X).embedding_ND
        assert embedding_ND is not None
        return embedding_ND

    def _model_options(self) -> dict[str, Any]:
        shape = ("cell", "width", "layers", "heads", "mixture")
        training = ("dropout", "entity_dropout", "trim", "learning_rate", "weight_decay", "random_state")
        return {name: getattr(self, name) for name in shape + training}

    def _train(
        self, X: SequenceStore, held_out: SequenceStore, folder: Path, progress: Progress
    ) -> tuple[NextEventModel, TrainingOutcome]:
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            model = NextEventModel.for_store(X, **self._model_options())
        data = SequenceDataModule(
            train=X, held_out=held_out, tokens=self._tokens(X), longest=self.longest, seed=self.random_state
        )
        names = ("max_epochs", "patience", "max_time", "precision", "accelerator", "devices", "random_state")
        plan = TrainingPlan(**{name: getattr(self, name) for name in names})
        return model, train_model(model, data, plan, folder, progress)

    def _tokens(self, X: SequenceStore) -> int:
        if self.batch_tokens != "auto":
            return self.batch_tokens
        return int(np.clip(X.n_events // 60, 128, 16_384))

    def _analyse_block(self, X: SequenceStore) -> Analysis:
        residuals = self._pass(X)
        fields_TF = residuals.surprisal_TF
        if "gap" in self.fields_:
            fields_TF = np.column_stack([fields_TF, gap_evidence(residuals)])
        return Analysis(
            statistics=sequence_statistics(residuals),
            fields_TF=fields_TF,
            event_statistics=event_statistics(residuals, self.fields_),
            embedding_ND=residuals.embedding_ND,
        )

    @torch.inference_mode()
    def _pass(self, X: SequenceStore) -> EventResiduals:
        """Run the model over every event once, and once more with entities unknown where there are profiles."""
        on_gpu = self.accelerator != "cpu" and torch.cuda.is_available()
        model = self.model_.to("cuda" if on_gpu else "cpu").eval()
        kinds = {field.name: field.kind for field in X.fields}
        clock = np.array([kinds.get(name) == "clock" for name in model.predicted(X.field_names)])
        # Where there is nothing but the clock, the clock is what is judged.
        clock &= not clock.all()
        closed, profiles = model.end_head is not None, model.profile is not None
        timed = model.gap_head is not None
        buffer = ResidualBuffer(X, clock=clock, width=self.width, profiles=profiles, closed=closed, timed=timed)
        windows = (self.longest, self.longest // 2) if self.cell == "transformer" else (None, 0)
        for batch, pieces in scoring_batches(X, SCORING_TOKENS, *windows):
            moved = batch.to(model.device)
            population_TF = model.surprisal(moved.as_population()) if model.profile is not None else None
            buffer.put(model.residuals(moved), population_TF, pieces)
        return buffer.finish()


def _blocks(X: SequenceStore) -> Iterator[SequenceStore]:
    """Yield runs of consecutive sequences of about `EVENTS_AT_ONCE` events."""
    if X.n_events <= EVENTS_AT_ONCE:
        yield X
        return
    block_N = (X.offsets[:-1] - X.offsets[0]) // EVENTS_AT_ONCE
    for block in np.unique(block_N):
        yield X.take(np.flatnonzero(block_N == block))


@contextmanager
def _folder(workspace: Path | None) -> Iterator[Path]:
    if workspace is not None:
        workspace.mkdir(parents=True, exist_ok=True)
        yield workspace
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
