"""A scored run as the pool that is ranked and labelled.

Shapes: T events, N sequences, F coded fields, n items (sequences, or events where they are what is ranked).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from anomaly.active.items import EMBEDDING, MEMBERS, OWNER, Items, Links
from anomaly.base import FeatureMatrix
from anomaly.features.embeddings import embedding_matrix
from anomaly.features.segments import reported
from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.artifact.run import Run
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.sequences.store import SequenceStore

_PREFIX = "score."


def items_of_run(run: Run) -> Items:
    """Return the items that a run ranked, in the order of its store.

    Raises
    ------
    ArtifactError
        If the run was trained with keep_events=false.
    """
    return items_of(run.sequences, run.scores, run.ensemble, run.facts["unit"])


def items_of(store: SequenceStore, scores: pl.DataFrame, ensemble: CalibratedEnsemble, unit: str) -> Items:
    """Return scored sequences or events as items.

    Parameters
    ----------
    scores : ``scores.parquet`` of the store, in its order
    unit : "sequence" or "event"
    """
    members = [name for name in scores.columns if name.startswith(_PREFIX)]
    values = scores.select(pl.col(members).cast(pl.Float32)).to_numpy() if members else np.zeros((scores.height, 0))
    views = {MEMBERS: FeatureMatrix(values.astype(np.float32), tuple(n.removeprefix(_PREFIX) for n in members))}
    key = "id" if unit == "event" else "sequence"
    looks, links = _event_looks(store) if unit == "event" else _sequence_looks(store, ensemble)
    return Items(scores[key], scores["score"].to_numpy().astype(np.float64), views | looks, links)


def _sequence_looks(store: SequenceStore, ensemble: CalibratedEnsemble) -> tuple[dict[str, FeatureMatrix], Links]:
    bank = ensemble.bank_
    views = {}
    if hasattr(bank, "aggregates_"):
        views["aggregates"] = bank.aggregates_.transform(store)
    embedding = bank.leader.embed(store)
    if embedding is not None:
        views[EMBEDDING] = embedding_matrix(embedding)
    offsets, kept = reported(store)
    return views, _links(store, np.flatnonzero(kept), np.repeat(np.arange(len(store)), np.diff(offsets)))


def _event_looks(store: SequenceStore) -> tuple[dict[str, FeatureMatrix], Links]:
    """Return what an event looks like by itself: its numbers, its gap, its place, and the clock."""
    _, kept = reported(store)
    places = np.flatnonzero(kept)
    clocks = [k for k, field in enumerate(store.fields) if field.kind == "clock"]
    columns = [store.values[places], np.log1p(np.maximum(store.delta[places], 0.0))[:, None]]
    columns += [store.codes[places][:, clocks], np.log1p(store.position()[places])[:, None]]
    names = (*store.value_names, "gap", *(store.field_names[k] for k in clocks), "position")
    event = FeatureMatrix(np.concatenate(columns, axis=1, dtype=np.float32), names)
    return {"event": event}, _links(store, places, np.arange(len(places)))


def _links(store: SequenceStore, places: NDArray[np.int64], item: NDArray[np.int64]) -> Links:
    """Return the owner and the distinct categorical values of every item; each event at `places` is of one `item`."""
    owner = _digests(store.entity_ids)[store.sequence_of_event()[places]]
    columns = [owner | OWNER]
    for k, field in enumerate(store.fields):
        if field.kind == "categorical":
            codes = store.codes[places, k].astype(np.uint64)
            # What is missing, unknown or rare is no value in common.
            columns.append(np.where(codes >= FIRST_VALUE, (np.uint64(k + 1) << np.uint64(40)) + codes, 0))
    pairs = pl.DataFrame({"item": np.tile(item, len(columns)), "code": np.concatenate(columns)})
    pairs = pairs.filter(pl.col("code") != 0).unique().sort("item", "code")
    n_items = int(item[-1]) + 1 if len(item) else 0
    counts = np.bincount(pairs["item"].to_numpy(), minlength=n_items)
    return Links(np.concatenate([[0], np.cumsum(counts)]), pairs["code"].to_numpy())


def _digests(ids: pl.Series) -> NDArray[np.uint64]:
    """Return a digest of each id that stays the same from one version to the next; 0 where there is none."""
    distinct = ids.unique(maintain_order=True)
    texts = distinct.cast(pl.String).to_list()
    numbers = [0 if t is None else int.from_bytes(blake2b(t.encode(), digest_size=8).digest()) for t in texts]
    table = pl.DataFrame({"id": distinct, "digest": pl.Series(numbers, dtype=pl.UInt64)})
    joined = ids.alias("id").to_frame().join(table, on="id", how="left", maintain_order="left", nulls_equal=True)
    return joined["digest"].to_numpy()
