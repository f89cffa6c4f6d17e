"""The loop on sequence runs: what 50 and 100 labels find, against the top of the ranking without feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from accuracy_cell import fit, score, settings_of

from anomaly.active.replay import replay
from anomaly.active.strategies import Top
from anomaly.artifact.labelled import pool
from anomaly.base import seeded
from anomaly.commands.compose import compose
from anomaly.commands.targets import instantiate
from anomaly.sweeps.datasets import match
from anomaly.sweeps.task import SequenceTask, item_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.sweeps.folder import LabelledFolder

BUDGET = 100
MARKS = (10, 20, 50, 100)


def run_sequences(folder: LabelledFolder, seed: int, overrides: list[str], methods: tuple[str, ...]) -> dict[str, Any]:
    """Train on a set, then replay every method on what it scores."""
    items, truth = labelled_items(folder, seed, overrides)
    order = np.argsort(-items.scores, kind="stable")
    row: dict[str, Any] = {
        "set": folder.name,
        "seed": seed,
        "n": len(truth),
        "n_anomalous": int(truth.sum()),
        "without": {str(k): int(truth[order[:k]].sum()) for k in MARKS},
    }
    for method in methods:
        learner = seeded(instantiate(compose("replay", ["out=x", f"learner={method}"]).values["learner"]), seed)
        done = replay(items, truth, learner, Top(), budget=BUDGET, random_state=seed)
        row[method] = {str(k): v for k, v in done.found.items()}
        row[f"{method}_ap"] = {str(k): round(v, 4) for k, v in done.ap_pool.items()}
        row[f"{method}_ms"] = round(done.update_ms, 2)
    return row


def labelled_items(folder: LabelledFolder, seed: int, overrides: list[str]) -> tuple[Items, NDArray[np.int64]]:
    """Fit as `anomaly train` does, score as `anomaly score` does, and return the items whose label is known."""
    task, seconds = SequenceTask(folder, seed=seed), dict[str, float]()
    fitted, ensemble = fit(task, settings_of(folder, seed, overrides), seconds)
    store, scored = score(task, fitted.encoder, ensemble, seconds)
    label = match(folder.read_labels(), item_ids(store, folder.level))
    known = np.flatnonzero(label >= 0)
    return pool(ensemble, store, scored).take(known), label[known]
