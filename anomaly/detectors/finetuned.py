"""A sequence model that goes on learning from labels.

Shapes: T events, N sequences, n items (sequences, or events where these are what is labelled), D width.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.base import clone

from anomaly.base import Detector, Progress, silent
from anomaly.errors import ConfigError, DataError
from anomaly.models.finetune import Lessons, TuningPlan, fine_tune, make_folds
from anomaly.nn.lessons import HEADS
from anomaly.sequences.batch import Pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.models.finetune import Unit
    from anomaly.nn.adapters import Trains
    from anomaly.nn.lessons import HeadKind, LabelHead
    from anomaly.sequences.store import SequenceStore

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

SMALLEST = 2
"""Labels of each class without which nothing can be cross-fitted, and the detector stays what it was."""


class FineTunedDetector(Detector):
    """A trained sequence model with a head on its vectors that has learnt from labels.

    Where labels are missing, or too few to be cross-fitted, the scores are those of the model without labels. Single
    events are tuned on what leads up to them; a model that judges with the whole sequence at hand scores them so.

    Parameters
    ----------
    detector : with a sequence model, such as `NeuralDetector`; needed where `fit` is not given a trained one
    unit : what is labelled and scored, "sequence" or "event"
    head, trains, top_k, rank, alpha, prevalence, max_epochs, patience, learning_rate
        See `anomaly.models.finetune.TuningPlan`.
    folds : parts of the labels, each of which is judged by a copy that was not shown it
    unlabelled : items without a label that are learnt from, at most
    longest : events before an item that are read while tuning

    Attributes
    ----------
    detector_ : with the tuned model
    head_ : None where there were too few labels
    epochs_, share_, precision_ : epochs trained, share of the weights that moved, and the cross-fitted average
        precision of the labels after every epoch
    out_of_fold_ : (n,) scores of the labelled items by copies that had not seen their labels; NaN for the others
    """

    reads = "sequences"
    uses_labels = True

    def __init__(
        self,
        *,
        detector: Detector | None = None,
        unit: Unit = "sequence",
        head: HeadKind = "classification",
        trains: Trains = "lora",
        top_k: int = 1,
        rank: int = 4,
        alpha: float = 1.0,
        prevalence: float = 0.02,
        max_epochs: int = 8,
        patience: int = 2,
        learning_rate: float = 1e-3,
        folds: int = 3,
        unlabelled: int = 256,
        longest: int = 128,
        contamination: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.detector = detector
        self.unit = unit
        self.head = head
        self.trains = trains
        self.top_k = top_k
        self.rank = rank
        self.alpha = alpha
        self.prevalence = prevalence
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.folds = folds
        self.unlabelled = unlabelled
        self.longest = longest
        self.contamination = contamination
        self.random_state = random_state

    def fit(
        self,
        X: SequenceStore,
        y: Ints | None = None,
        *,
        trained: Any | None = None,
        folds: list[Ints] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learn from the labels of the items of `X`: 1, 0, or -1 for unknown.

        Parameters
        ----------
        trained : the detector to start from, which stays as it is
        folds : items whose labels are hidden together, instead of a random split
        """
        if self.head not in HEADS:
            raise ConfigError(f"head={self.head}: expected one of {', '.join(HEADS)}")
        self.detector_ = clone(self.detector).fit(X) if trained is None else copy.deepcopy(trained)
        size = X.n_events if self.unit == "event" else len(X)
        y = np.full(size, -1) if y is None else np.asarray(y, np.int64)
        if len(y) != size:
            raise DataError(f"{len(y)} labels for {size} {self.unit}s; give one for each, -1 where unknown")
        folds = make_folds(y, self.folds, self.random_state) if folds is None else folds
        self.head_: LabelHead | None = None
        self.epochs_, self.share_ = 0, 0.0
        self.precision_: list[float] = []
        self.out_of_fold_ = np.full(size, np.nan)
        if min((y == 1).sum(), (y == 0).sum()) >= SMALLEST and folds:
            self._tune(X, y, folds, progress)
        return self if trained is not None else self._set_scores(X)

    def decision_function(self, X: SequenceStore) -> Floats:
        """Return (n,) the head's scores; without a head those of the detector."""
        self._check_fitted()
        if self.head_ is not None:
            with torch.no_grad():
                return np.asarray(self.head_(torch.from_numpy(self.vectors(X))), np.float64)
        detector: Any = self.detector_
        scores: Floats = detector.score_events(X) if self.unit == "event" else detector.decision_function(X)
        return scores

    @torch.inference_mode()
    def vectors(self, X: SequenceStore) -> NDArray[np.float32]:
        """Return (n, D) what the head reads of every item."""
        detector: Any = self.detector_
        if self.unit == "sequence":
            vectors: NDArray[np.float32] = detector._embed(X)
            return vectors
        model, carried = detector._on_device(), detector._carried(X)
        out = np.zeros((X.n_events, len(model.start)), np.float32)
        for batch, pieces in detector._batches(X):
            carry = carried.begin(pieces)
            places, kept = _fresh(pieces, int(X.offsets[0]))
            out[places] = model.states(batch, carry)[1].float().cpu().numpy()[kept]
            carried.end(pieces, carry)
        return out

    def _tune(self, X: SequenceStore, y: Ints, folds: list[Ints], progress: Progress) -> None:
        rng = np.random.default_rng(self.random_state)
        labelled, unknown = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
        unknown = np.sort(rng.choice(unknown, min(self.unlabelled, len(unknown)), replace=False))
        chosen = np.concatenate([labelled, unknown])
        filled = X.lengths[X.sequence_of_event()[chosen]] if self.unit == "event" else X.lengths[chosen]
        chosen = chosen[filled > 0]
        place = np.full(len(y), -1)
        place[chosen] = np.arange(len(chosen))
        inner = [place[fold][place[fold] >= 0] for fold in folds]
        lessons = Lessons(X, _leading_to(X, chosen, self.unit, self.longest), y[chosen], self.unit)
        names = ("head", "trains", "top_k", "rank", "alpha", "prevalence", "max_epochs", "patience", "learning_rate")
        plan = TuningPlan(**{name: getattr(self, name) for name in names}, random_state=self.random_state)
        tuned = fine_tune(self.detector_.model_.cpu(), lessons, inner, plan, progress)
        self.detector_.model_, self.head_ = tuned.model, tuned.head
        self.epochs_, self.share_, self.precision_ = tuned.epochs, tuned.share, tuned.curve
        self.out_of_fold_[chosen] = tuned.out_of_fold


def _leading_to(X: SequenceStore, items: Ints, unit: Unit, longest: int) -> Pieces:
    """Return the last events up to and with each item."""
    sequence = X.sequence_of_event()[items] if unit == "event" else items
    end = items + 1 if unit == "event" else X.offsets[1:][items]
    begin = np.maximum(X.offsets[:-1][sequence], end - longest)
    return Pieces(sequence, begin, end, begin)


def _fresh(pieces: Pieces, origin: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the places of the events that are a batch's own, and which rows of the batch they are."""
    places = pieces.places()
    kept = places >= np.repeat(pieces.fresh, pieces.lengths)
    return places[kept] - origin, kept
