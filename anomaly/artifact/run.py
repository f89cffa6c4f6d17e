"""A run folder: made by `train`, opened to score."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from anomaly.artifact import codec, manifest
from anomaly.artifact.scoring import ScoredEvents, score_events
from anomaly.atomic import remove_temporaries, write_json, write_text
from anomaly.base import Progress, silent
from anomaly.errors import ArtifactError
from anomaly.sequences.store import SequenceStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.active.learner import ActiveLearner
    from anomaly.base import Learner, QueryStrategy
    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.events.encoder import EventEncoder
    from anomaly.explain.story import Story
    from anomaly.scores.thresholds import ThresholdPolicy

CONFIG, LOG, FACTS = "config.yaml", "log.jsonl", "data.json"
PARTS = ("encoder", "sequences", "features", "members", "calibration", "checkpoints", "report_files", "learner")
FILES = (
    *(CONFIG, LOG, FACTS, manifest.NAME, "scores.parquet", "event_scores.parquet", "entity_scores.parquet"),
    *("metrics.json", "event_scores_metrics.json", "report.html"),
)
_NEEDED = (CONFIG, FACTS, "encoder/", "members/", "calibration/")
"""What scoring reads, and what is therefore verified when a run is opened."""


class Run:
    """A run folder.

    Attributes
    ----------
    path : the folder
    """

    def __init__(self, path: Path | str, *, allow: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.allow = tuple(allow)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | str, config: str, *, overwrite: bool = False, allow: Sequence[str] = ()) -> Self:
        """Begin a run, or go on with one that was killed and has the same configuration.

        Raises
        ------
        ArtifactError
            If the folder holds a finished or different run, or something else.
        """
        run = cls(path, allow=allow)
        if run.path.exists() and not run.path.is_dir():
            raise ArtifactError(f"{run.path}: is a file; choose another folder")
        if run.path.is_dir() and any(run.path.iterdir()):
            run._refuse_or_clear(config, overwrite)
        remove_temporaries(run.path)
        write_text(run.path / CONFIG, config)
        return run

    @classmethod
    def load(cls, path: Path | str, *, allow: Sequence[str] = ()) -> Self:
        """Open a finished run, its parts verified.

        Parameters
        ----------
        allow : further packages whose classes may be built, where the run was trained with such

        Raises
        ------
        ArtifactError
            If there is none, it is not finished, or a file is missing or was changed.
        """
        run = cls(path, allow=allow)
        manifest.verify(run.path, _NEEDED)
        return run

    def _refuse_or_clear(self, config: str, overwrite: bool) -> None:
        if not (self.path / CONFIG).is_file():
            raise ArtifactError(f"{self.path}: holds something that is no run; choose another folder")
        if overwrite:
            self.clear()
        elif (self.path / manifest.NAME).is_file():
            raise ArtifactError(
                f"{self.path}: holds a finished run; choose another folder, or replace it: overwrite=true"
            )
        elif (self.path / CONFIG).read_text(encoding="utf-8") != config:
            raise ArtifactError(
                f"{self.path}: holds a run of another configuration that was not finished; "
                "choose another folder, or replace it: overwrite=true"
            )

    def clear(self) -> None:
        """Take away everything that a run writes, and nothing else."""
        # The manifest first: a clearing that is cut short must not leave a run that looks finished.
        for name in (manifest.NAME, *FILES):
            (self.path / name).unlink(missing_ok=True)
        for name in PARTS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        remove_temporaries(self.path)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    @property
    def finished(self) -> bool:
        """Whether `train` came to its end."""
        return (self.path / manifest.NAME).is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, data, seeds and the digest of every file."""
        return manifest.read_manifest(self.path)

    @property
    def config(self) -> str:
        """The configuration as YAML, references to the environment unresolved."""
        return (self.path / CONFIG).read_text(encoding="utf-8")

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What was read: path, rows, schema, findings, unit."""
        return self._json(FACTS)

    @cached_property
    def encoder(self) -> EventEncoder:
        """What turns rows into codes."""
        encoder: EventEncoder = codec.load(self.path / "encoder", self.allow)
        return encoder

    @cached_property
    def ensemble(self) -> CalibratedEnsemble:
        """The fitted members, calibrated and combined."""
        ensemble: CalibratedEnsemble = codec.load(self.path / "calibration" / "ensemble", self.allow)
        ensemble.bank_ = codec.load(self.path / "members", self.allow)
        return ensemble

    @cached_property
    def threshold(self) -> ThresholdPolicy:
        """The policy that the run was trained with."""
        policy: ThresholdPolicy = codec.load(self.path / "calibration" / "threshold", self.allow)
        return policy

    @property
    def sequences(self) -> SequenceStore:
        """The encoded sequences that the run was trained on.

        Raises
        ------
        ArtifactError
            If the run was trained with keep_events=false.
        """
        if not (self.path / "sequences").is_dir():
            raise ArtifactError(f"{self.path}: holds no sequences (keep_events=false); train it with keep_events=true")
        return SequenceStore.open(self.path / "sequences")

    @property
    def scores(self) -> pl.DataFrame:
        """The ranking of what the run was trained on."""
        return self._table("scores.parquet")

    @property
    def event_scores(self) -> pl.DataFrame:
        """The scores of its events."""
        return self._table("event_scores.parquet")

    @property
    def entity_scores(self) -> pl.DataFrame:
        """The ranking of its entities."""
        return self._table("entity_scores.parquet")

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The figures, where labels were given."""
        return self._json("metrics.json") if (self.path / "metrics.json").is_file() else None

    def score(self, events: Any, **options: Any) -> pl.DataFrame:
        """Return the scores of new events, one row per item, as in ``scores.parquet``.

        Parameters
        ----------
        events : a path, a Polars or a pandas frame; the columns come from the run
        options : see `score_events`
        """
        return self.score_events(events, **options).tables.scores

    def score_events(
        self,
        events: Any,
        *,
        history: Any | None = None,
        until: str | float | None = None,
        threshold: ThresholdPolicy | None = None,
        bad_rows: Any = "fail",
        max_bad: float | None = None,
        progress: Progress = silent,
    ) -> ScoredEvents:
        """Return all tables of new events, and how these differ from the training data.

        Parameters
        ----------
        events, history : a path, a Polars or a pandas frame
        until : end of what was observed, in place of the run's own
        threshold : a policy in place of the run's own
        """
        from anomaly.artifact.online import kept_learner, with_posterior

        policy = self.threshold if threshold is None else self.refit(threshold)
        scored = score_events(
            events,
            encoder=self.encoder,
            ensemble=self.ensemble,
            policy=policy,
            unit=self.facts["unit"],
            history=history,
            until=until,
            bad_rows=bad_rows,
            max_bad=max_bad,
            progress=progress,
        )
        learner = kept_learner(self)
        if learner is None:
            return scored
        return replace(scored, tables=with_posterior(self, learner, scored.prepared.store, scored.tables))

    def active_learner(self, learner: Learner | None = None, query: QueryStrategy | None = None) -> ActiveLearner:
        """Return a labelling loop over what the run ranked."""
        from anomaly.active.learner import ActiveLearner
        from anomaly.artifact.items import items_of_run

        return ActiveLearner(items_of_run(self), learner, query)

    def keep_learner(self, learner: Learner) -> None:
        """Keep what labels have taught: from now on new events have a posterior beside their score."""
        from anomaly.artifact.online import keep_learner

        keep_learner(self, learner)

    def forget_learner(self) -> None:
        """Forget what labels have taught, as where all of them were taken back."""
        from anomaly.artifact.online import forget_learner

        forget_learner(self)

    def explain(self, ids: Any | None = None, **options: Any) -> list[Story]:
        """Tell why items score as they do: what carries each, what was expected, what would make it usual.

        Parameters
        ----------
        ids : one id or several; None takes the highest scores
        options : see `anomaly.artifact.explaining.explain_run`
        """
        from anomaly.artifact.explaining import explain_run

        return explain_run(self, ids, **options)

    def refit(self, policy: ThresholdPolicy) -> ThresholdPolicy:
        """Fit another threshold policy on the run's held-out reference."""
        return policy.fit(self.ensemble.reference_scores_, self.ensemble.reference_p_values_)

    def keep(self, ensemble: CalibratedEnsemble, policy: ThresholdPolicy) -> None:
        """Write the fitted ensemble and policy: the members apart from what calibrates them."""
        bare = copy.copy(ensemble)
        codec.dump(bare.__dict__.pop("bank_"), self.path / "members", self.allow)
        codec.dump(bare, self.path / "calibration" / "ensemble", self.allow)
        codec.dump(policy, self.path / "calibration" / "threshold", self.allow)

    def finish(self, **facts: Any) -> None:
        """Write the manifest: from now on the run is finished."""
        remove_temporaries(self.path)
        manifest.write_manifest(self.path, facts)

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to the run's log."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Write what was read."""
        write_json(self.path / FACTS, facts)
        self.__dict__.pop("facts", None)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self.path / name}: missing or damaged ({error})") from error
        return found

    def _table(self, name: str) -> pl.DataFrame:
        try:
            return pl.read_parquet(self.path / name)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ArtifactError(f"{self.path / name}: missing or damaged ({error})") from error
