"""The package itself as a competitor: what `anomaly train` fits and `anomaly score` scores, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomaly.commands.compose import TABLE, compose
from anomaly.sweeps.competitors import Clock, Competitor, OnFeatures, Outcome
from anomaly.sweeps.task import SequenceTask, TableTask, item_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.base import FeatureMatrix
    from anomaly.commands.plan import Plan
    from anomaly.ensemble.scored import Scored
    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema
    from anomaly.sequences.store import SequenceStore
    from anomaly.sweeps.task import Task


class Trained(Competitor):
    """The pipeline under one training configuration, for every set the same but for the roles of its columns.

    Parameters
    ----------
    overrides : as on the command line of `anomaly train`
    """

    rests_on = ("nn", "models", "scores", "detectors", "ensemble")

    def __init__(self, *, overrides: Sequence[str] = ()) -> None:
        self.overrides = overrides

    def told(self) -> Any:
        """Return the resolved configurations, of events and of tables."""
        return [_settings(overrides, {}).values for overrides in (self.overrides, self._of_tables)]

    def compete(self, task: Task) -> Outcome:
        """Fit and score."""
        if isinstance(task, SequenceTask):
            return self._events(task)
        assert isinstance(task, TableTask)
        return self._table(task)

    @property
    def _of_tables(self) -> list[str]:
        own = any(override.startswith("experiment=") for override in self.overrides)
        return [*([] if own else [f"experiment={TABLE}"]), *self.overrides]

    def _events(self, task: SequenceTask) -> Outcome:
        from anomaly.commands.plan import plan
        from anomaly.events.infer import infer_schema

        values = {f"events.{role}": value for role, value in task.folder.events.items()}
        what = plan(_settings(self.overrides, {**values, "unit": task.level, "seed": task.seed}))
        fit, score = task.source("fit"), None if task.scores_what_it_fits else task.source("score")
        assert fit is not None
        store, scored, clock, notes = _run(what, fit, infer_schema(fit, what.schema), score, task.source("history"))
        return _outcome(scored, clock, notes, item_ids(store, task.level))

    def _table(self, task: TableTask) -> Outcome:
        from anomaly.commands.plan import plan
        from anomaly.events.tabular import TableRoles, table_schema

        what = plan(_settings(self._of_tables, {"seed": task.seed}))
        fit, score = _numbered(task.fit), None if task.scores_what_it_fits else _numbered(task.score)
        schema = table_schema(fit, TableRoles(numeric=task.fit.names))
        _, scored, clock, notes = _run(what, fit, schema, score, None)
        return _outcome(scored, clock, notes, None)


class Preset(Competitor):
    """A detector on features as a choice of the group `detector` has it; it gets the labels of a budget if it can.

    Parameters
    ----------
    choice : of the group; its first detector takes part
    """

    rests_on = ("features", "scores", "detectors")

    def __init__(self, *, choice: str) -> None:
        self.choice = choice

    def told(self) -> Any:
        """Return the detector's configuration."""
        return self._config(0)

    def compete(self, task: Task) -> Outcome:
        """Fit and score."""
        from anomaly.commands.targets import instantiate

        return OnFeatures(detector=instantiate(self._config(task.seed))).compete(task)

    def _config(self, seed: int) -> Any:
        found = _settings([f"experiment={TABLE}", f"detector={self.choice}"], {"seed": seed}).values["detector"]
        return next(iter(found.values()))


def _run(
    what: Plan, fit: EventSource, schema: EventSchema, score: EventSource | None, history: EventSource | None
) -> tuple[SequenceStore, Scored, Clock, dict[str, Any]]:
    """Fit on one source and score another, or the same where there is none."""
    from anomaly.sequences.build import build_store

    clock = Clock()
    fitted = build_store(fit, schema, encoder=what.encoder)
    store = fitted.store
    clock.lap("prepare")
    ensemble = what.ensemble.fit(store)
    clock.lap("fit")
    if score is not None:
        store = build_store(score, fitted.schema, encoder=fitted.encoder, history=history).store
    scored: Scored = ensemble.score(store)
    clock.lap("score")
    weights = {name: round(weight, 4) for name, weight in ensemble.weights_.items()}
    return store, scored, clock, {"weights": weights, "warnings": ensemble.warnings_}


def _numbered(rows: FeatureMatrix) -> EventSource:
    import polars as pl

    from anomaly.events.tabular import open_table

    return open_table(pl.DataFrame(rows.values, schema=list(rows.names)))


def _outcome(scored: Scored, clock: Clock, notes: dict[str, Any], ids: Any) -> Outcome:
    members = dict(zip(scored.member_names, scored.member_scores.T, strict=True))
    return Outcome(scored.score, clock.seconds, ids, members, notes)


def _settings(overrides: Sequence[str], values: dict[str, Any]) -> Any:
    return compose("train", list(overrides), {"events.path": None, "run": "run", **values})
