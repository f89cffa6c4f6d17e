"""The loop on sequence runs: what 50 and 100 labels find, against the top of the ranking without feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from accuracy_cell import settings_of

from anomaly.active.replay import replay
from anomaly.active.strategies import Top
from anomaly.artifact.items import items_of
from anomaly.artifact.tables import score_tables
from anomaly.base import seeded
from anomaly.commands.compose import compose
from anomaly.commands.plan import plan
from anomaly.commands.targets import instantiate
from anomaly.events.infer import infer_schema
from anomaly.events.readers import EventSource
from anomaly.metrics.matching import match_labels
from anomaly.sequences.build import build_store

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
    events = folder.read_events()

    def source(which: Any) -> EventSource:
        return EventSource.from_frame(folder.rows(events, which), folder.name)

    what = plan(settings_of(folder, seed, overrides))
    fitted = source(folder.fit)
    prepared = build_store(fitted, infer_schema(fitted, what.schema), encoder=what.encoder)
    ensemble = what.ensemble.fit(prepared.store)
    history = None if folder.history is None else source(folder.history)
    store = build_store(source(folder.score), prepared.encoder.schema_, encoder=prepared.encoder, history=history).store
    scored = ensemble.score(store)
    scores = score_tables(store, scored, scored.score > np.inf, folder.level).scores
    key = "id" if folder.level == "event" else "sequence"
    matched = match_labels(scores.with_row_index("place"), folder.read_labels(), scores_id=key, labels_id="item")
    places = matched.rows["place"].to_numpy().astype(np.int64)
    items = items_of(store, scores, ensemble, folder.level).take(places)
    return items, matched.rows["label"].to_numpy().astype(np.int64)
