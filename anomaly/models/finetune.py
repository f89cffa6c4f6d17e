"""Fine-tuning: a trained sequence model and a head learn from few labels, cross-fitted so that the labels can judge.

In: a model, the pieces of events that end in labelled and in unlabelled items. Out: the tuned copy, and for every
labelled item the score of a copy that was not shown its label.

Shapes: n items (l of them labelled), N items of a batch, D width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.base import Progress, silent
from anomaly.metrics.ranking import average_precision
from anomaly.nn.adapters import adapted
from anomaly.nn.lessons import LabelHead, label_loss
from anomaly.nn.pooling import last_of_sequence
from anomaly.sequences.batch import collate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.models.base import SequenceNetwork
    from anomaly.nn.adapters import Trains
    from anomaly.nn.lessons import HeadKind
    from anomaly.sequences.batch import Pieces, SequenceBatch
    from anomaly.sequences.store import SequenceStore

    Ints = NDArray[np.int64]
    Unit = Literal["sequence", "event"]

BATCH = 32
"""Labelled items of one step; as many unlabelled ones come with them."""
HEAD_STEPS = 10
"""Steps on vectors that stand still, for one step through the encoder: they cost nothing."""


@dataclass(frozen=True)
class TuningPlan:
    """What is learnt, and how.

    Attributes
    ----------
    head : "classification", "deviation" or "deep_sad"
    trains, top_k, rank : which weights move, see `anomaly.nn.adapters`
    alpha : weight of the labels' loss beside that of the pretraining
    prevalence : believed share of anomalous items among the unknown
    max_epochs, patience : training ends where the cross-fitted average precision has not risen for `patience` epochs
    learning_rate, head_learning_rate : of the encoder and of the head
    """

    head: HeadKind = "classification"
    trains: Trains = "lora"
    top_k: int = 1
    rank: int = 4
    alpha: float = 1.0
    prevalence: float = 0.02
    max_epochs: int = 8
    patience: int = 2
    learning_rate: float = 1e-3
    head_learning_rate: float = 5e-3
    random_state: int = 0


@dataclass(frozen=True)
class Lessons:
    """Items to learn from.

    Attributes
    ----------
    store, pieces : the events that lead up to each of the n items
    y : (n,) 1, 0 or -1
    unit : an event is read by the state after it, a sequence by its embedding
    """

    store: SequenceStore
    pieces: Pieces
    y: Ints
    unit: Unit = "sequence"

    def batch(self, rows: Ints) -> SequenceBatch:
        """Return the pieces of some items."""
        return collate(self.store, self.pieces, rows)


@dataclass
class Tuned:
    """What came of it.

    Attributes
    ----------
    model, head : with the weights learnt from all labels
    epochs : after which the cross-fitted average precision was best
    curve : cross-fitted average precision of the labels after every epoch
    share : of the model's and the head's weights that were trained
    out_of_fold : (n,) score of each labelled item by a copy that had not seen its label; NaN where unlabelled
    """

    model: SequenceNetwork
    head: LabelHead
    epochs: int
    share: float
    out_of_fold: NDArray[np.float64]
    curve: list[float] = field(default_factory=list)


def fine_tune(
    model: SequenceNetwork,
    lessons: Lessons,
    folds: list[Ints],
    plan: TuningPlan,
    progress: Progress = silent,
) -> Tuned:
    """Choose the number of epochs by cross-fitting, then learn from all labels for as long.

    Parameters
    ----------
    folds : labelled items that are hidden together; each labelled item in one of them
    """
    labelled = np.flatnonzero(lessons.y >= 0)
    scores = np.full((plan.max_epochs + 1, len(lessons.y)), np.nan)
    passes = [_Pass(model, lessons, np.setdiff1d(labelled, fold), plan) for fold in folds]
    curve: list[float] = []
    for epoch in range(plan.max_epochs + 1):
        for tuning, fold in zip(passes, folds, strict=True):
            if epoch:
                tuning.epoch()
            scores[epoch, fold] = tuning.score(fold)
        progress("fine-tuning", epoch, plan.max_epochs)
        curve.append(average_precision(lessons.y[labelled], scores[epoch, labelled]))
        if epoch - int(np.argmax(curve)) >= plan.patience:
            break
    best = max(int(np.argmax(curve)), 1)
    for tuning in passes:
        tuning.close()
    final = _Pass(model, lessons, labelled, plan)
    for _ in range(best):
        final.epoch()
    share = final.share
    return Tuned(*final.close(), best, share, scores[min(best, len(curve) - 1)], curve)


class _Pass:
    """One training on some of the labels, an epoch at a time."""

    def __init__(self, model: SequenceNetwork, lessons: Lessons, labelled: Ints, plan: TuningPlan) -> None:
        self.lessons, self.labelled, self.plan = lessons, labelled, plan
        self.unlabelled = np.flatnonzero(lessons.y < 0)
        self.rng = np.random.default_rng(plan.random_state)
        self.model: Any = copy.deepcopy(model)
        self.vectors = _vectors(self.model, lessons)
        self.still = plan.trains == "head"
        whole = sum(p.numel() for p in self.model.parameters())
        self._adapter = adapted(self.model, self.model.encoder, plan.trains, top_k=plan.top_k, rank=plan.rank)
        with torch.random.fork_rng():
            torch.manual_seed(plan.random_state)
            self.head = LabelHead(kind=plan.head, width=self.vectors.shape[1])
            moved = self._adapter.__enter__()
            self.torch_state = torch.get_rng_state()
        self.head.anchor(self.vectors)
        own = sum(p.numel() for p in self.head.parameters())
        self.share = (moved * whole + own) / (whole + own)
        encoder = [p for p in self.model.parameters() if p.requires_grad]
        groups = [{"params": list(self.head.parameters()), "lr": plan.head_learning_rate}]
        groups += [{"params": encoder, "lr": plan.learning_rate}] if encoder else []
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)

    def epoch(self) -> None:
        """Show every label once; the vectors of a model that stands still ten times."""
        with torch.random.fork_rng():
            torch.set_rng_state(self.torch_state)
            self.head.train()
            self.model.train(not self.still)
            for _ in range(HEAD_STEPS if self.still else 1):
                for rows in self._batches():
                    self._step(rows)
            self.torch_state = torch.get_rng_state()

    def score(self, rows: Ints) -> NDArray[np.float64]:
        """Return the head's scores of some items."""
        self.head.eval()
        with torch.no_grad():
            vectors = self.vectors[rows] if self.still else _vectors(self.model, self.lessons, rows)
            scores: NDArray[np.float64] = self.head(vectors).double().numpy()
        return scores

    def close(self) -> tuple[SequenceNetwork, LabelHead]:
        """Join what was learnt to the model's own weights."""
        self._adapter.__exit__(None, None, None)
        return self.model.eval(), self.head.eval()

    def _batches(self) -> list[Ints]:
        """Draw the labels in a random order, both classes spread evenly, each part with as many unlabelled items."""
        y = self.lessons.y[self.labelled]
        noise = self.rng.random(len(y))
        place = np.empty(len(y))
        for label in (0, 1):
            own = np.flatnonzero(y == label)
            place[own[np.argsort(noise[own])]] = (np.arange(len(own)) + 0.5) / max(len(own), 1)
        order = self.labelled[np.argsort(place, kind="stable")]
        parts = np.array_split(order, max(-(-len(order) // BATCH), 1))
        return [np.concatenate([part, self._some_unlabelled(len(part))]) for part in parts]

    def _some_unlabelled(self, n: int) -> Ints:
        n = min(max(n, BATCH // 2), len(self.unlabelled))
        return self.rng.choice(self.unlabelled, n, replace=False)

    def _step(self, rows: Ints) -> None:
        y_N = torch.from_numpy(self.lessons.y[rows])
        pretraining: Tensor | float = 0.0
        if self.still:
            z_ND = self.vectors[torch.from_numpy(rows)]
        else:
            batch = self.lessons.batch(rows)
            z_ND = represent(self.model, batch, self.lessons.unit)
            pretraining = self._pretraining(rows)
        loss = pretraining + self.plan.alpha * label_loss(self.plan.head, self.head(z_ND), y_N, self.plan.prevalence)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        for group in self.optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        self.optimizer.step()

    def _pretraining(self, rows: Ints) -> Tensor | float:
        """Return the loss that the model was trained for, on what is not known to be odd."""
        usual = rows[self.lessons.y[rows] < 1]
        if not len(usual):
            return 0.0
        loss_N, weight_N = self.model.sequence_losses(self.lessons.batch(usual))
        mean: Tensor = loss_N.sum() / weight_N.sum().clamp(min=1)
        return mean


def represent(model: SequenceNetwork, batch: SequenceBatch, unit: Unit) -> Tensor:
    """Return (N, D) what stands for each item: the state after its last event, or the sequence's embedding."""
    if unit == "event":
        return last_of_sequence(model.states(batch)[1], batch.cu_seqlens)
    return model.embed(batch)


@torch.no_grad()
def _vectors(model: Any, lessons: Lessons, rows: Ints | None = None) -> Tensor:
    """Return (n, D) the vectors of some items, as the model stands."""
    model.eval()
    rows = np.arange(len(lessons.y)) if rows is None else rows
    # Of one length each: padding is what a pass costs.
    order = np.argsort(-lessons.pieces.lengths[rows], kind="stable")
    parts = [
        represent(model, lessons.batch(rows[part]), lessons.unit)
        for part in np.array_split(order, -(-len(order) // 64))
    ]
    vectors = torch.cat(parts).float()
    return torch.empty_like(vectors).index_copy_(0, torch.from_numpy(order), vectors)


def make_folds(y: Ints, n: int, random_state: int = 0) -> list[Ints]:
    """Split the labelled items into at most n folds, both classes in each; none where a class has fewer than two."""
    few = min(int((y == 1).sum()), int((y == 0).sum()))
    n = min(n, few)
    if n < 2:
        return []
    rng = np.random.default_rng(random_state)
    folds: list[list[int]] = [[] for _ in range(n)]
    for label in (1, 0):
        for k, item in enumerate(rng.permutation(np.flatnonzero(y == label))):
            folds[k % n].append(int(item))
    return [np.array(sorted(fold), np.int64) for fold in folds]
