"""A training that goes on from an older run, and what it has gained and forgotten.

Shapes: N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anomaly.base import EventDetector
from anomaly.detectors.trained import TrainedDetector
from anomaly.errors import ConfigError, DataError
from anomaly.events.growth import GrowingEncoder, code_maps, inverse
from anomaly.metrics.ranking import average_precision
from anomaly.models.warm import WarmStart
from anomaly.sequences.batch import scoring_batches
from anomaly.sequences.replay import recoded

if TYPE_CHECKING:
    from anomaly.artifact.finetuning import LabelSource
    from anomaly.artifact.run import Run
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.store import SequenceStore

COMPARED_EVENTS = 50_000
"""Held-out events of each period, at most, on which the two runs are compared."""
_TOKENS = 1 << 14


@dataclass(frozen=True)
class OlderRun:
    """What a training goes on from.

    Attributes
    ----------
    run : finished
    replay : older sequences that are trained on beside the new ones, as a share of the new ones' number
    """

    run: Run
    replay: float = 0.3

    def encoder(self, ensemble: CalibratedEnsemble) -> GrowingEncoder:
        """Return the encoder that grows out of the older run's.

        Raises
        ------
        ConfigError
            If the older run ranks another kind of item, holds no model, or others than the ensemble to be fitted.
        """
        if self.run.facts["unit"] != ensemble.unit:
            raise ConfigError(f"init_from={self.run.path}: ranks {self.run.facts['unit']}s; give unit= as it was there")
        before, after = _networks(self.run.ensemble), _networks(ensemble)
        if not any(issubclass(kind, EventDetector) for kind in before.values()):
            raise ConfigError(f"init_from={self.run.path}: holds no network of single events to go on from")
        if before != after:
            raise ConfigError(
                f"init_from={self.run.path}: its networks are {', '.join(before)}, those of this training "
                f"{', '.join(after) or 'none'}; give model= as it was there"
            )
        return GrowingEncoder.after(self.run.encoder)

    def prepare(self, ensemble: CalibratedEnsemble, store: SequenceStore, encoder: EventEncoder, seed: int) -> None:
        """Give every network the weights of the older one and sequences to rehearse."""
        maps = code_maps(self.run.encoder, encoder)
        rehearsed = self._rehearsed(store, maps, seed)
        for name, member in self.run.ensemble.bank_.trained_members.items():
            if isinstance(member, TrainedDetector):
                ensemble.members[name].set_params(start=WarmStart(member.model_.cpu(), maps, rehearsed))

    def forget(self, ensemble: CalibratedEnsemble) -> None:
        """Let go of the older weights, which a run does not keep twice."""
        for member in (*ensemble.members.values(), *ensemble.bank_.trained_members.values()):
            if isinstance(member, TrainedDetector):
                member.set_params(start=None)

    def compare(
        self,
        ensemble: CalibratedEnsemble,
        store: SequenceStore,
        encoder: EventEncoder,
        labels: LabelSource | None = None,
    ) -> list[dict[str, Any]]:
        """Return the nats per event of both runs on held-out sequences of both periods; with labels the AP too."""
        maps = code_maps(self.run.encoder, encoder)
        back = [inverse(codes, field.size) for codes, field in zip(maps, store.fields, strict=True)]
        rows = []
        for period, theirs, ours in self._periods(ensemble, store, maps, back):
            row: dict[str, Any] = {"period": period, "events": ours.n_events}
            for which, run_ensemble, seen in (("old", self.run.ensemble, theirs), ("new", ensemble, ours)):
                row[which] = round(nats_per_event(run_ensemble, seen), 4)
                row[f"{which}_precision"] = precision_of(run_ensemble, seen, labels, self.run.facts["unit"])
            rows.append(row)
        return rows

    def _periods(
        self, ensemble: CalibratedEnsemble, store: SequenceStore, maps: Any, back: Any
    ) -> list[tuple[str, SequenceStore, SequenceStore]]:
        new = _some(ensemble.split(store)[1])
        periods = [("new", recoded(new, back, self._like()), new)]
        if self._kept():
            before = self.run.ensemble
            old = _some(before.split(self.run.sequences)[1])
            periods.insert(0, ("old", old, recoded(old, maps, store)))
        return periods

    def _kept(self) -> bool:
        return (self.run.path / "sequences").is_dir()

    def _like(self) -> Any:
        """Return what says of the older run's stores how they are coded."""
        from types import SimpleNamespace

        encoder = self.run.encoder
        return SimpleNamespace(
            fields=encoder.fields_, n_entities=encoder.n_entities, codes=np.zeros((0, 0), encoder.code_dtype)
        )

    def _rehearsed(self, store: SequenceStore, maps: Any, seed: int) -> SequenceStore | None:
        if self.replay <= 0 or not self._kept():
            return None
        old = self.run.sequences
        n = min(int(self.replay * len(store)), len(old))
        chosen = np.sort(np.random.default_rng(seed).choice(len(old), n, replace=False))
        return recoded(old.take(chosen), maps, store) if n else None


def _networks(ensemble: CalibratedEnsemble) -> dict[str, type[TrainedDetector]]:
    return {name: type(member) for name, member in ensemble.members.items() if isinstance(member, TrainedDetector)}


@torch.inference_mode()
def nats_per_event(ensemble: CalibratedEnsemble, X: SequenceStore) -> float:
    """Return the mean loss of an ensemble's neural member over the events of a store."""
    model = next(m for m in ensemble.bank_.event_members_.values() if hasattr(m, "model_")).model_.cpu().eval()
    total = weight = 0.0
    for batch, _ in scoring_batches(X, _TOKENS, 512):
        loss_N, weight_N = model.sequence_losses(batch)
        total, weight = total + float(loss_N.sum()), weight + float(weight_N.sum())
    return total / max(weight, 1.0)


def precision_of(ensemble: CalibratedEnsemble, X: SequenceStore, labels: LabelSource | None, unit: str) -> float | None:
    """Return the average precision over labelled items; None where those of either class are missing."""
    if labels is None:
        return None
    from anomaly.artifact.finetuning import labels_of_items

    scored = ensemble.score(X)
    try:
        y = labels_of_items(labels, X, scored, unit)
    except DataError:
        return None
    return round(average_precision(y[y >= 0], scored.score[y >= 0]), 4)


def _some(X: SequenceStore) -> SequenceStore:
    n = int(np.searchsorted(np.cumsum(X.lengths), COMPARED_EVENTS)) + 1
    return X.take(np.arange(max(len(X) - n, 0), len(X)))
