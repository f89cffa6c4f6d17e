"""Raw events to a finished run, out of plain objects."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anomaly.artifact import codec
from anomaly.artifact.scoring import facts_of, fingerprint_of, score_store
from anomaly.base import Progress, silent
from anomaly.errors import ArtifactError, ConfigError, DataError
from anomaly.sequences.build import build_store
from anomaly.sequences.store import SequenceStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly.artifact.run import Run
    from anomaly.artifact.tables import ScoreTables
    from anomaly.artifact.warm import OlderRun
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.events.checks import BadRows
    from anomaly.events.encoder import EventEncoder
    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema
    from anomaly.scores.thresholds import ThresholdPolicy


@dataclass(frozen=True)
class Recipe:
    """What is fitted, and how the rows are read.

    Attributes
    ----------
    schema : roles of the columns, none left open
    encoder, ensemble, policy : not yet fitted
    unit : "sequence" or "event", the item that is ranked
    bad_rows, max_bad : see `build_store`
    left_out : columns that are not read, and why
    older : a run whose weights are gone on from
    """

    schema: EventSchema
    encoder: EventEncoder
    ensemble: CalibratedEnsemble
    policy: ThresholdPolicy
    unit: str = "sequence"
    seed: int = 0
    memory: int = 4 << 30
    bad_rows: BadRows = "fail"
    max_bad: float | None = None
    keep_events: bool = True
    older: OlderRun | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def train_run(
    run: Run,
    source: EventSource,
    recipe: Recipe,
    *,
    history: EventSource | None = None,
    progress: Progress = silent,
) -> ScoreTables:
    """Prepare the rows, fit the members, calibrate, rank, and write everything but the report and the manifest.

    A run that was killed goes on from what its folder holds. Rows or settings that cannot be used leave no new folder
    behind; a full disk leaves what the same command goes on from.
    """
    fresh = not (run.path / "encoder").is_dir()
    try:
        store, encoder = _prepare(run, source, recipe, history, progress)
        _fit(run, store, encoder, recipe, progress)
        run.keep(recipe.ensemble, recipe.policy)
        run.__dict__.update(encoder=encoder, ensemble=recipe.ensemble, threshold=recipe.policy)
        progress("scoring")
        return _score(run, store, recipe)
    except (DataError, ConfigError):
        if fresh:
            run.clear()
        raise


def _fit(run: Run, store: SequenceStore, encoder: EventEncoder, recipe: Recipe, progress: Progress) -> None:
    begun = time.perf_counter()
    if recipe.older is not None:
        recipe.older.prepare(recipe.ensemble, store, encoder, recipe.seed)
    ensemble = recipe.ensemble.fit(store, workspace=run.path / "checkpoints", progress=progress)
    recipe.policy.fit(ensemble.reference_scores_, ensemble.reference_p_values_)
    recipe.seconds["fit"] = time.perf_counter() - begun
    run.log("fitted", seconds=round(recipe.seconds["fit"], 1), weights=ensemble.weights_)
    if recipe.older is not None:
        recipe.older.forget(ensemble)


def _score(run: Run, store: SequenceStore, recipe: Recipe) -> ScoreTables:
    begun = time.perf_counter()
    tables = score_store(store, ensemble=recipe.ensemble, policy=recipe.policy, unit=recipe.unit, fitted=True)
    tables.save(run.path / "scores.parquet")
    recipe.seconds["score"] = time.perf_counter() - begun
    run.log("scored", seconds=round(recipe.seconds["score"], 1), flagged=int(tables.scores["flagged"].sum()))
    return tables


def finish_run(run: Run, recipe: Recipe) -> None:
    """Leave out what is not to be kept and write the manifest."""
    if not recipe.keep_events:
        shutil.rmtree(run.path / "sequences", ignore_errors=True)
    run.log("finished", seconds={k: round(v, 1) for k, v in recipe.seconds.items()})
    run.finish(
        data={"fingerprint": run.facts["fingerprint"], "path": run.facts["path"]},
        seeds={"seed": recipe.seed},
        allow=list(run.allow),
    )


def _prepare(
    run: Run,
    source: EventSource,
    recipe: Recipe,
    history: EventSource | None,
    progress: Progress,
) -> tuple[SequenceStore, EventEncoder]:
    begun = time.perf_counter()
    folder = (run.path / "sequences").resolve()
    if (run.path / "encoder").is_dir() and (folder / "store.json").is_file():
        if run.facts["fingerprint"] != fingerprint_of(source, history):
            raise ArtifactError(f"{run.path}: was begun with other data; choose another folder, or give overwrite=true")
        return SequenceStore.open(folder), run.encoder
    shutil.rmtree(folder, ignore_errors=True)
    prepared = build_store(
        source,
        recipe.schema,
        encoder=recipe.encoder,
        history=history,
        out=folder,
        memory_limit=recipe.memory,
        bad_rows=recipe.bad_rows,
        max_bad=recipe.max_bad,
        progress=progress,
    )
    recipe.seconds["prepare"] = time.perf_counter() - begun
    facts = {
        "unit": recipe.unit,
        "schema": recipe.schema.overrides(),
        "left_out": dict(recipe.left_out),
    }
    run.write_facts(facts | facts_of(source, prepared, history))
    run.log("prepared", seconds=round(recipe.seconds["prepare"], 1), rows=source.n_rows, sequences=len(prepared.store))
    # The encoder last: where it is, the preparation is complete.
    codec.dump(prepared.encoder, run.path / "encoder", run.allow)
    return prepared.store, prepared.encoder
