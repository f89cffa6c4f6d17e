"""A run with labels: the learner lies in the run and gives new items their posterior.

It holds what the labelled items look like and nothing of the pool, so that it grows with the labels only.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from anomaly.artifact import codec
from anomaly.artifact.items import items_of

if TYPE_CHECKING:
    from anomaly.artifact.run import Run
    from anomaly.artifact.tables import ScoreTables
    from anomaly.base import Learner
    from anomaly.sequences.store import SequenceStore

FOLDER = "learner"


def keep_learner(run: Run, learner: Learner) -> None:
    """Keep a learner with the run, in place of the one that was there."""
    codec.dump(learner, run.path / FOLDER, run.allow)


def forget_learner(run: Run) -> None:
    """Keep no learner with the run: no label stands any more."""
    shutil.rmtree(run.path / FOLDER, ignore_errors=True)


def kept_learner(run: Run) -> Learner | None:
    """Return the learner that lies in a run, None where no labels were learnt."""
    if not (run.path / FOLDER).is_dir():
        return None
    learner: Learner = codec.load(run.path / FOLDER, run.allow)
    return learner


def with_posterior(run: Run, learner: Learner, store: SequenceStore, tables: ScoreTables) -> ScoreTables:
    """Return the tables of scored items with the column `posterior`; the order and the score stay as they are.

    It is what the learner holds, higher is more anomalous and no probability, and takes the place of a fine-tuning's.
    """
    posterior = learner.score(items_of(store, tables.scores, run.ensemble, run.facts["unit"]))
    scores = tables.scores.drop("posterior", strict=False)
    at = scores.columns.index("rank") + 1
    return replace(tables, scores=scores.insert_column(at, pl.Series("posterior", posterior)))
