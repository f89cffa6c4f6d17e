"""A finished run and labels to a new run, whose ranking the labels have moved."""

from __future__ import annotations

import copy
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.base import clone

from anomaly.artifact.scoring import facts_of, prepare, source_of
from anomaly.artifact.tables import score_tables
from anomaly.atomic import replacing_folder
from anomaly.base import Progress, silent
from anomaly.errors import ArtifactError, DataError
from anomaly.metrics.matching import event_key, match_labels
from anomaly.sequences.store import SequenceStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly.artifact.labelled import LabelledRanking
    from anomaly.artifact.run import Run
    from anomaly.artifact.tables import ScoreTables
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.ensemble.scored import Scored
    from anomaly.events.checks import BadRows


@dataclass(frozen=True)
class LabelSource:
    """Where labels come from.

    Attributes
    ----------
    table : label in {1, 0, -1}; an item that it does not name is unknown
    labels_id : key column or columns, where they are not called as the item's
    label : column of the labels
    split : value of the column split that is taken
    """

    table: pl.DataFrame
    labels_id: str | list[str] | None = None
    label: str = "label"
    split: str | None = None


def finetune_run(
    run: Run,
    labels: LabelSource,
    out: Run,
    ranking: LabelledRanking,
    *,
    events: Any | None = None,
    history: Any | None = None,
    bad_rows: BadRows = "fail",
    max_bad: float | None = None,
    progress: Progress = silent,
) -> ScoreTables:
    """Learn from labels of a run's items and write everything of the new run but the report and the manifest.

    Nothing of `run` is changed. A fine-tuning that was killed is begun again: it takes seconds.

    Parameters
    ----------
    events : rows whose items are labelled and ranked, in place of those that the run was trained on
    history : rows that are the past of these
    bad_rows, max_bad : of these, see `anomaly.artifact.scoring.score_events`

    Raises
    ------
    ArtifactError
        If there are no events: the run was trained with keep_events=false.
    DataError
        If no label meets an item, or all are of one class.
    """
    begun = time.perf_counter()
    try:
        store, read = _sequences(run, events, history, bad_rows=bad_rows, max_bad=max_bad)
        ensemble = copy.copy(run.ensemble)
        ensemble.labelled_ = None
        progress("scoring")
        scored = ensemble.score_unlabelled(store)
        y = labels_of_items(labels, store, scored, run.facts["unit"])
        ensemble.labelled_ = clone(ranking).fit(ensemble, store, scored, y, progress)
    except (DataError, ArtifactError):
        out.clear()
        raise
    _move_reference(ensemble)
    policy = clone(run.threshold).fit(ensemble.reference_scores_, ensemble.reference_p_values_)
    _write_parts(run, out, store, run.facts | read | {"finetuned": _learnt(run, ensemble)})
    out.keep(ensemble, policy)
    out.__dict__.update(ensemble=ensemble, threshold=policy)
    ranked = ensemble.labelled_.rank(ensemble, ensemble.seen(store), scored)
    tables = score_tables(store, ranked, policy.flag(ranked.score, ranked.p_value), run.facts["unit"])
    tables.save(out.path / "scores.parquet")
    out.log("finetuned", seconds=round(time.perf_counter() - begun, 1), **out.facts["finetuned"])
    return tables


def finish_finetuned(out: Run, seed: int) -> None:
    """Write the manifest of the new run."""
    out.finish(
        data={name: out.facts[name] for name in ("fingerprint", "path")},
        seeds={"seed": seed},
        allow=list(out.allow),
    )


def labels_of_items(labels: LabelSource, store: SequenceStore, scored: Scored, unit: str) -> NDArray[np.int64]:
    """Return (n,) the label of every item, -1 where there is none.

    Raises
    ------
    DataError
        If no label meets an item, or all that do are of one class.
    """
    rows = score_tables(store, scored, np.zeros(len(scored.score), np.bool_), unit).scores
    key, labels_id = ["sequence"], labels.labels_id
    if unit == "event":
        key, labels_id = event_key(labels.table, labels.labels_id)
    found = match_labels(
        rows.select(key).with_row_index("__row"),
        labels.table,
        scores_id=key,
        labels_id=labels_id,
        label=labels.label,
        split=labels.split,
    ).rows
    y = np.full(rows.height, -1, np.int64)
    y[found["__row"].to_numpy()] = found["label"].to_numpy()
    for label, name in ((1, "anomalous (1)"), (0, "normal (0)")):
        if not (y == label).any():
            raise DataError(
                f"labels: {found.height} of them meet items of the run, and none is {name}; give at least one of each"
            )
    return y


def _sequences(
    run: Run, events: Any | None, history: Any | None, **checks: Any
) -> tuple[SequenceStore, dict[str, Any]]:
    """Return what is learnt from and ranked, and what is to be told of it where it is not the run's own."""
    if events is None:
        return run.sequences, {}
    source, past = source_of(events, table=run.encoder.table), None if history is None else source_of(history)
    prepared = prepare(source, run.encoder, history=past, **checks)
    return prepared.store, facts_of(source, prepared, past)


def _move_reference(ensemble: CalibratedEnsemble) -> None:
    """Let thresholds follow the scores that the labels have moved."""
    if ensemble.labelled_.helps_:
        ensemble.reference_p_values_ = ensemble.labelled_.reference_p_values_
        ensemble.reference_scores_ = -np.log10(ensemble.reference_p_values_)


def _learnt(run: Run, ensemble: CalibratedEnsemble) -> dict[str, Any]:
    learnt = ensemble.labelled_
    evidence, network = learnt.posterior_.evidence_, learnt.network_
    return {
        "from": str(run.path),
        "anomalous": learnt.n_labels_[0],
        "normal": learnt.n_labels_[1],
        "helps": learnt.helps_,
        "network_heard": learnt.heard_,
        "precision_before": None if evidence is None else round(evidence.prior, 4),
        "precision_after": None if evidence is None else round(evidence.posterior, 4),
        "head": None if network is None else network.head,
        "trains": None if network is None else network.trains,
        "share": None if network is None else round(network.share_, 5),
        "epochs": None if network is None else network.epochs_,
    }


def _write_parts(run: Run, out: Run, store: SequenceStore, facts: dict[str, Any]) -> None:
    out.write_facts(facts)
    _copy(run.path / "encoder", out.path / "encoder")
    with replacing_folder(out.path / "sequences") as temporary:
        store.save(temporary)


def _copy(source: Path, target: Path) -> None:
    with replacing_folder(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
