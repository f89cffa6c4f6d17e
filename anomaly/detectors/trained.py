"""What detectors with a Lightning model share: the arguments, the training, the cutting into pieces.

Shapes: N sequences, D width.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from anomaly.base import Detector, Progress, silent
from anomaly.detectors.carried import CarriedStates
from anomaly.errors import DataError
from anomaly.sequences.batch import scoring_batches
from anomaly.sequences.split import latest_per_entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly.models.base import SequenceNetwork
    from anomaly.models.training import TrainingOutcome
    from anomaly.models.warm import WarmStart
    from anomaly.nn.encoders import Cell
    from anomaly.sequences.augment import Augmentation
    from anomaly.sequences.batch import Pieces, SequenceBatch
    from anomaly.sequences.store import SequenceStore

SCORING_TOKENS = 1 << 13
"""Padded events of one scoring batch on a CPU: with more, its states leave the cache and its memory is not kept."""
SCORING_TOKENS_ON_DEVICE = 1 << 15
"""The same elsewhere."""


LARGEST_BATCH = {"cpu": 1 << 14, "gpu": 1 << 16}
"""Padded events of a training batch whose size is left open; see the benchmark gpu_speed."""


class TrainedDetector(Detector):
    """A detector whose model Lightning trains.

    Parameters
    ----------
    objective : what the model is trained for, see `anomaly.models.objectives`
    cell : "gru", "lstm", "tcn" or "transformer"
    width, layers, heads, mixture, latent, masks, dropout, entity_dropout, trim, learning_rate, weight_decay
        See the model of the objective; those it does not know are not used.
    max_epochs, patience, precision, accelerator, devices, compile, max_time
        See `anomaly.models.training.TrainingPlan`.
    batch_tokens : padded events of a training batch; "auto" gives an epoch about 60 batches of at most 16,384, on a GPU
        65,536: smaller ones leave it waiting
    longest : training cuts longer sequences into pieces; where no state can be carried on, scoring also reads pieces,
        half of each as context
    augment : what is done to training batches, see `anomaly.sequences.augment`
    adversarial : size of the shifts of embedded events that are trained against, as a share of their norm
    start : an older model to go on from, instead of from nothing
    random_state : seed
    """

    reads = "sequences"
    trains_with_held_out = True

    def __init__(
        self,
        *,
        objective: Any = "next_event",
        cell: Cell = "gru",
        width: int = 128,
        layers: int = 1,
        heads: int = 4,
        mixture: int = 8,
        latent: int = 32,
        masks: int = 4,
        dropout: float = 0.3,
        entity_dropout: float = 0.3,
        trim: float = 0.02,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        max_epochs: int = 20,
        patience: int = 2,
        batch_tokens: int | Literal["auto"] = "auto",
        longest: int = 128,
        augment: Augmentation | None = None,
        adversarial: float = 0.0,
        start: WarmStart | None = None,
        precision: str = "auto",
        accelerator: str = "auto",
        devices: int = 1,
        compile: bool = False,
        max_time: str | float | None = "00:00:08:00",
        random_state: int = 0,
    ) -> None:
        self.objective = objective
        self.cell = cell
        self.width = width
        self.layers = layers
        self.heads = heads
        self.mixture = mixture
        self.latent = latent
        self.masks = masks
        self.dropout = dropout
        self.entity_dropout = entity_dropout
        self.trim = trim
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_tokens = batch_tokens
        self.longest = longest
        self.augment = augment
        self.adversarial = adversarial
        self.start = start
        self.precision = precision
        self.accelerator = accelerator
        self.devices = devices
        self.compile = compile
        self.max_time = max_time
        self.random_state = random_state

    def fit(
        self,
        X: SequenceStore,
        y: NDArray[np.int64] | None = None,
        *,
        held_out: SequenceStore | None = None,
        workspace: Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Train on `X`; labels are not used.

        Parameters
        ----------
        held_out : whose loss stops the training; `decision_scores_` are then left out. None takes the latest tenth of
            each entity from `X`
        workspace : folder of checkpoints and logs; a training that was killed goes on from what it holds

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
        self._learn_scores(X)
        # A pass over everything: who brings held-out rows has a use for those, not for these.
        return self if given else self._set_scores(rows)

    @abstractmethod
    def _model_class(self) -> type[SequenceNetwork]:
        """Return the model of the objective."""

    @abstractmethod
    def _learn_scores(self, X: SequenceStore) -> None:
        """Learn from the training sequences what the trained model's scores need."""

    def _train(
        self, X: SequenceStore, held_out: SequenceStore, folder: Path, progress: Progress
    ) -> tuple[Any, TrainingOutcome]:
        # Lightning takes seconds to import, and who only scores does not need it.
        from anomaly.models.training import TrainingPlan, train_model
        from anomaly.sequences.datamodule import SequenceDataModule

        kind = self._model_class()
        X = X if self.start is None else self.start.rehearse(X)
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            model = kind.for_store(X, **{name: getattr(self, name) for name in kind.options})
        if self.start is not None:
            self.start.load_into(model)
        model.augment, model.adversarial = self.augment or None, self.adversarial
        data = SequenceDataModule(
            train=X, held_out=held_out, tokens=self._tokens(X), longest=self.longest, seed=self.random_state
        )
        names = ("max_epochs", "patience", "max_time", "precision", "accelerator", "devices", "compile", "random_state")
        plan = TrainingPlan(**{name: getattr(self, name) for name in names})
        return model, train_model(model, data, plan, folder, progress)

    def _tokens(self, X: SequenceStore) -> int:
        if self.batch_tokens != "auto":
            return self.batch_tokens
        most = LARGEST_BATCH["gpu" if self._on_gpu() else "cpu"]
        return int(np.clip(X.n_events // 60, self._model_class().smallest_batch, most))

    def _on_gpu(self) -> bool:
        return self.accelerator != "cpu" and torch.cuda.is_available()

    def _on_device(self) -> Any:
        return self.model_.to("cuda" if self._on_gpu() else "cpu").eval()

    def _batches(self, X: SequenceStore) -> Iterator[tuple[SequenceBatch, Pieces]]:
        """Yield what the model reads, in the order in which states are carried on."""
        reading = self.model_.reading(self.longest)
        tokens = SCORING_TOKENS if self.model_.device.type == "cpu" else SCORING_TOKENS_ON_DEVICE
        for batch, pieces in scoring_batches(X, tokens, reading.longest, reading.overlap, in_order=reading.carried):
            yield batch.to(self.model_.device), pieces

    @torch.inference_mode()
    def _embed(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (N, D), one vector per sequence; of pieces of a sequence the mean, by length."""
        model, carried = self._on_device(), self._carried(X)
        total_ND, weight_N = np.zeros((len(X), model.embedding_width), np.float32), np.zeros(len(X), np.float32)
        for batch, pieces in self._batches(X):
            carry = carried.begin(pieces)
            embedding_PD = model.embed(batch, carry).float().cpu().numpy()
            carried.end(pieces, carry)
            length_P = pieces.lengths.astype(np.float32)
            np.add.at(total_ND, pieces.sequence, embedding_PD * length_P[:, None])
            np.add.at(weight_N, pieces.sequence, length_P)
        total_ND /= np.maximum(weight_N, 1)[:, None]
        return total_ND

    def _carried(self, X: SequenceStore) -> CarriedStates:
        return CarriedStates(X, self.model_.reading(self.longest))


@contextmanager
def _folder(workspace: Path | None) -> Iterator[Path]:
    if workspace is not None:
        workspace.mkdir(parents=True, exist_ok=True)
        yield workspace
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
