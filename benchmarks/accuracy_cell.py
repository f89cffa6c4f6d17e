"""One set and one seed: fit as `anomaly train` does, score as `anomaly score` does, then look at the labels.

Shapes: n reported items, m member statistics.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import code

from anomaly.commands.compose import Settings, compose
from anomaly.metrics.calibration import uniformity
from anomaly.metrics.ranking import auroc, average_precision
from anomaly.sweeps.datasets import match
from anomaly.sweeps.floors import NGRAMS
from anomaly.sweeps.task import SequenceTask, item_ids, share_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.ensemble.scored import Scored
    from anomaly.events.encoder import EventEncoder
    from anomaly.sequences.build import Prepared
    from anomaly.sequences.store import SequenceStore
    from anomaly.sweeps.folder import LabelledFolder

RATES = (0.01, 0.05)


def settings_of(folder: LabelledFolder, seed: int, overrides: list[str]) -> Settings:
    """Compose the training configuration of a set; the overrides are those of the command."""
    values: dict[str, Any] = {f"events.{role}": value for role, value in folder.events.items()}
    values |= {"events.path": None, "run": "run", "unit": folder.level, "seed": seed}
    return compose("train", overrides, values)


def configuration(folder: LabelledFolder, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Return the resolved configuration without what the set itself says."""
    own = ("events", "run", "unit", "seed", "labels", "labels_id", "labels_split", "history")
    settings = settings_of(folder, seed, overrides)
    return {key: value for key, value in settings.values.items() if key not in own}


def run_cell(folder: LabelledFolder, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Return the row of a set and a seed."""
    task = SequenceTask(folder, seed=seed)
    seconds: dict[str, float] = {}
    fitted, ensemble = fit(task, settings_of(folder, seed, overrides), seconds)
    store, scored = score(task, fitted.encoder, ensemble, seconds)
    found = _figures(folder, store, scored, _floor_scores(folder, store, scored, ensemble))
    return {
        "set": folder.name,
        "seed": seed,
        "level": folder.level,
        **found,
        "repeats": _repeats(folder, fitted.store, store),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "epochs": len(ensemble.curve_),
        "warnings": ensemble.warnings_,
        "weights": {name: round(weight, 4) for name, weight in ensemble.weights_.items()},
        "fitted": {"sequences": len(fitted.store), "events": fitted.store.n_events, "columns": _columns(fitted)},
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "code": code(),
    }


def fit(task: SequenceTask, settings: Settings, seconds: dict[str, float]) -> tuple[Prepared, CalibratedEnsemble]:
    """Fit as `anomaly train` does; note the seconds of each part."""
    from anomaly.commands.plan import plan
    from anomaly.events.infer import infer_schema
    from anomaly.sequences.build import build_store

    what, source = plan(settings), task.source("fit")
    assert source is not None
    begun = time.perf_counter()
    prepared = build_store(source, infer_schema(source, what.schema), encoder=what.encoder)
    seconds["prepare"] = time.perf_counter() - begun
    begun = time.perf_counter()
    ensemble: CalibratedEnsemble = what.ensemble.fit(prepared.store)
    seconds["fit"] = time.perf_counter() - begun
    return prepared, ensemble


def score(
    task: SequenceTask, encoder: EventEncoder, ensemble: CalibratedEnsemble, seconds: dict[str, float]
) -> tuple[SequenceStore, Scored]:
    """Score as `anomaly score` does; note the seconds of each part."""
    from anomaly.sequences.build import build_store

    source, history = task.source("score"), task.source("history")
    assert source is not None
    begun = time.perf_counter()
    store = build_store(source, encoder.schema_, encoder=encoder, history=history).store
    seconds["prepare_score"] = time.perf_counter() - begun
    begun = time.perf_counter()
    scored = ensemble.score(store)
    seconds["score"] = time.perf_counter() - begun
    return store, scored


def _floor_scores(
    folder: LabelledFolder, store: SequenceStore, scored: Scored, ensemble: CalibratedEnsemble
) -> dict[str, NDArray[np.float64]]:
    """Return the floors: scores that need no model, uncalibrated."""
    floors = {} if folder.level == "event" else {"short length": -store.lengths.astype(np.float64)}
    ngram = ensemble.bank_.event_members_.get("ngram")
    if ngram is None:
        return floors
    found = ngram.statistics(store) if folder.level == "sequence" else ngram.event_statistics(store)
    rows = slice(None) if scored.item_event is None else scored.item_event
    columns = {name: found.values[rows, k] for k, name in enumerate(found.names)}
    return floors | {floor: columns[name] for floor, name in NGRAMS[folder.level].items() if name in columns}


def _figures(
    folder: LabelledFolder, store: SequenceStore, scored: Scored, floors: dict[str, NDArray[np.float64]]
) -> dict[str, Any]:
    label = match(folder.read_labels(), item_ids(store, folder.level))
    known = label >= 0
    truth = label[known]
    members = dict(zip(scored.member_names, scored.member_scores.T, strict=True))
    normal = scored.p_value[known][truth == 0]
    return {
        "n": len(truth),
        "n_anomalous": int(truth.sum()),
        "n_unknown": int((~known).sum()),
        "prevalence": round(float(truth.mean()), 6),
        **judge(truth, scored.score[known]),
        "floors": {name: judge(truth, values[known]) for name, values in floors.items()},
        "members": {name: judge(truth, values[known]) for name, values in members.items()},
        "false_alarms": [
            {key: round(float(row[key]), 6) for key in ("nominal", "observed", "low", "high")}
            for row in uniformity(normal, rates=RATES)["rates"]
        ],
    }


def judge(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, float]:
    """Return AUROC and average precision, over all labelled items at their natural rate."""
    return {"auroc": round(auroc(truth, scores), 5), "average_precision": round(average_precision(truth, scores), 5)}


def _repeats(folder: LabelledFolder, fitted: SequenceStore, store: SequenceStore) -> float | None:
    """Return the share of scored sequences that are in the fit; None where the two are the same, or have a history."""
    if folder.scores_what_it_fits or folder.history is not None:
        return None
    return share_in(store.keys(), fitted.keys())


def _columns(prepared: Prepared) -> list[str]:
    return [override.removeprefix("events.") for override in prepared.schema.overrides()]
