"""The next-event model as a detector: Lightning trains it, a causal pass scores every event.

Shapes: T events, N sequences, F fields, D width.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars
import torch

from anomaly.base import Analysis, EventDetector, Statistics
from anomaly.detectors.buffer import ResidualBuffer
from anomaly.models.checkpoint import SafetensorsCheckpointIO
from anomaly.models.next_event import NextEventModel
from anomaly.scores.statistics import EventResiduals, event_statistics, gap_evidence, sequence_statistics
from anomaly.sequences.datamodule import SequenceDataModule, scoring_batches
from anomaly.sequences.split import latest_per_entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytorch_lightning as pl
    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

SMALLEST_GAIN = 0.005
"""Nats per event that an epoch must win on the held-out sequences to count as progress."""
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
    max_epochs, patience : training ends when the held-out likelihood has not risen for `patience` epochs
    batch_tokens : padded events of a training batch; "auto" gives an epoch about 60 batches of 256 to 16,384
    longest : training cuts longer sequences into pieces; a transformer also scores in pieces, half of each as context
    precision : "32-true", "bf16-mixed" or "auto"
    accelerator, devices, max_time : of the Lightning trainer; `max_time` is "DD:HH:MM:SS" or None
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
        max_epochs: int = 40,
        patience: int = 3,
        batch_tokens: int | Literal["auto"] = "auto",
        longest: int = 512,
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
    ) -> Self:
        """Train on `X`; labels are not used.

        Parameters
        ----------
        held_out : whose likelihood stops the training; None takes the latest tenth of each entity from `X`
        workspace : folder of checkpoints and logs; a training that was killed goes on from what it holds
        """
        if held_out is None:
            train, latest = latest_per_entity(X, 0.1, random_state=self.random_state)
            X, held_out = X.take(train), X.take(latest)
        with _own_randomness(self.random_state), _quiet(), _folder(workspace) as folder:
            self.model_ = NextEventModel.for_store(X, **self._model_options())
            self._train(X, held_out, folder)
        self.model_.eval()
        self.fields_ = self.model_.predicted(X.field_names) + (("gap",) if self.model_.gap_head is not None else ())
        return self._set_scores(held_out)

    def analyse(self, X: SequenceStore) -> Analysis:
        """Return statistics, evidence per event and field, and embeddings, from one pass."""
        blocks = [self._analyse_block(block) for block in _blocks(X)]
        return Analysis.concat(blocks)

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
        return self.analyse(X).embedding_ND

    def _model_options(self) -> dict[str, Any]:
        names = ("cell", "width", "layers", "heads", "mixture", "dropout", "entity_dropout", "trim")
        names += ("learning_rate", "weight_decay", "random_state")
        return {name: getattr(self, name) for name in names}

    def _train(self, X: SequenceStore, held_out: SequenceStore, folder: Path) -> None:
        data = SequenceDataModule(
            train=X, held_out=held_out, tokens=self._tokens(X), longest=self.longest, seed=self.random_state
        )
        from pytorch_lightning.callbacks import Timer

        trainer, best = self._trainer(folder)
        last = folder / "last.ckpt"
        trainer.fit(self.model_, datamodule=data, ckpt_path=str(last) if last.exists() else None)
        self.stopped_by_time_ = any(isinstance(c, Timer) and c.time_remaining() <= 0 for c in trainer.callbacks)  # type: ignore[attr-defined, operator]
        self.curve_ = _curve(folder)
        if best.best_model_path:
            checkpoint = trainer.strategy.checkpoint_io.load_checkpoint(best.best_model_path)
            self.model_.load_state_dict(checkpoint["state_dict"])
        self.model_.to("cpu" if not torch.cuda.is_available() else "cuda")

    def _trainer(self, folder: Path) -> tuple[pl.Trainer, Any]:
        import pytorch_lightning as pl
        from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
        from pytorch_lightning.loggers import CSVLogger

        best = ModelCheckpoint(
            dirpath=folder, filename="best", monitor="held_out_loss", save_last=True, enable_version_counter=False
        )
        stop = EarlyStopping("held_out_loss", patience=self.patience, min_delta=SMALLEST_GAIN)
        trainer = pl.Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            precision=self._precision(),
            max_epochs=self.max_epochs,
            max_time=self.max_time,
            gradient_clip_val=1.0,
            callbacks=[best, stop],
            logger=CSVLogger(str(folder), name="", version="logs"),
            plugins=[SafetensorsCheckpointIO()],
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
        )
        return trainer, best

    def _precision(self) -> Any:
        if self.precision != "auto":
            return self.precision
        # On a CPU bf16 gains nothing at width 64 and little at 128 (evidence: AMX pays from width 256 on).
        on_gpu = torch.cuda.is_available() and self.accelerator != "cpu"
        return "bf16-mixed" if on_gpu else "32-true"

    def _tokens(self, X: SequenceStore) -> int:
        if self.batch_tokens != "auto":
            return self.batch_tokens
        return int(np.clip(X.n_events // 60, 256, 16_384))

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
        self._check_fitted()
        model = self.model_.eval()
        kinds = {field.name: field.kind for field in X.fields}
        clock = np.array([kinds.get(name) == "clock" for name in model.predicted(X.field_names)])
        closed, profiles = model.end_head is not None, model.profile is not None
        buffer = ResidualBuffer(X, clock=clock, width=self.width, profiles=profiles, closed=closed)
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
def _own_randomness(seed: int) -> Iterator[None]:
    """Give the block a seeded torch generator and put the caller's back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _folder(workspace: Path | None) -> Iterator[Path]:
    if workspace is not None:
        workspace.mkdir(parents=True, exist_ok=True)
        yield workspace
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice: worker counts and log intervals do not concern whoever runs this."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in loggers:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)


def _curve(folder: Path) -> list[dict[str, float]]:
    """Read the loss of every epoch from the trainer's log."""
    path = folder / "logs" / "metrics.csv"
    if not path.exists():
        return []
    rows = polars.read_csv(path).group_by("epoch").agg(polars.all().drop_nulls().last()).sort("epoch")
    return rows.select("epoch", "train_loss", "held_out_loss").to_dicts()
