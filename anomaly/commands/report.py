"""`anomaly report`: the page of a run, from what the run holds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.artifact import manifest
from anomaly.artifact.online import kept_learner
from anomaly.artifact.run import Run
from anomaly.atomic import write_json
from anomaly.commands.console import Console
from anomaly.commands.evaluate import figures_of
from anomaly.commands.files import read_table
from anomaly.commands.plan import policy
from anomaly.errors import ArtifactError, ConfigError, SchemaError
from anomaly.report.beside import folder_beside
from anomaly.report.data import ReportData
from anomaly.report.page import write_report
from anomaly.report.whys import Whys, explain_top

if TYPE_CHECKING:
    from anomaly.commands.compose import Settings
    from anomaly.explain.words import Language
    from anomaly.scores.thresholds import ThresholdPolicy

_DRIFT_FROM = 1000
"""Events below which their shares tell nothing of a change."""


def command(settings: Settings) -> None:
    """Write the page again, with labels or another threshold."""
    values = settings.values
    chosen = policy(settings)
    run = Run.load(values["run"], allow=settings.allow)
    metrics = _without_flags(run.metrics) if chosen else run.metrics
    scores = flag(run, chosen) if chosen else run.scores
    labels = None if values["labels"] is None else read_table(values["labels"], "labels")
    if values["group"] is not None and labels is None:
        raise ConfigError(f"group={values['group']}: a column of the labels; give labels= as well")
    if labels is not None:
        metrics = figures_of(scores, labels, run.facts["unit"], values["labels_id"], values["labels_split"])
    out = Path(values["out"] or run.path / "report.html")
    with Console(quiet=values["quiet"]) as console:
        console.progress("writing the report")
        told = {name: values[name] for name in ("labels_id", "group", "language")}
        report_run(run, metrics, out=out, threshold=chosen, scores=scores, labels=labels, **told)
        written = [out.name, folder_beside(out).name]
        # A run's own are about its own flags; what any page shows lies beside it, and no file of others is touched.
        if labels is not None and chosen is None and out.parent.resolve() == run.path.resolve():
            write_json(run.path / "metrics.json", metrics)
            written.append("metrics.json")
        manifest.renew(out.parent, tuple(written))
        console.say(f"report: {out}")


def _without_flags(metrics: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return figures without those of the flags, which another threshold sets anew."""
    if metrics is None:
        return None
    typology = [{**row, "flagged": None} for row in metrics["typology"]]
    return {**metrics, "flagged": None, "typology": typology}


def flag(run: Run, threshold: ThresholdPolicy) -> pl.DataFrame:
    """Return the run's scores, flagged by another policy."""
    scores = run.scores
    flagged = run.refit(threshold).flag(scores["score"].to_numpy(), scores["p_value"].to_numpy())
    return scores.with_columns(flagged=pl.Series(flagged))


def report_run(
    run: Run,
    metrics: dict[str, Any] | None = None,
    *,
    out: Path | None = None,
    threshold: ThresholdPolicy | None = None,
    scores: pl.DataFrame | None = None,
    labels: pl.DataFrame | None = None,
    labels_id: str | None = None,
    group: str | None = None,
    language: Language = "en",
) -> Path:
    """Write the page of a run and return where it lies.

    Parameters
    ----------
    labels, labels_id, group : the table of labels, its key and its column that groups the flags
    language : of the reasons
    """
    found = run.scores if scores is None else scores
    groups = [] if group is None or labels is None else group_rows(found, labels, group, labels_id, run.facts["unit"])
    data = _report_data(run, metrics, threshold or run.threshold, found, language)
    data = replace(data, groups=groups, grouped_by=group or "")
    return write_report(data, out or run.path / "report.html")


def _report_data(
    run: Run,
    metrics: dict[str, Any] | None,
    threshold: ThresholdPolicy,
    scores: pl.DataFrame,
    language: Language,
) -> ReportData:
    ensemble, facts, events = run.ensemble, run.facts, run.event_scores
    timezone = run.encoder.schema_.timezone or ""
    scores = by_clock(scores, timezone)
    warnings = list(ensemble.warnings_)
    try:
        whys = explain_top(run, scores, language)
    except ArtifactError as error:
        whys = Whys()
        warnings.append(f"the events of the top items are not shown: {error}")
    return ReportData(
        title=run.path.resolve().name,
        scores=scores,
        threshold=threshold.summary(),
        run=_run_facts(run),
        data=_data_facts(facts, scores, timezone),
        findings=[{k: v for k, v in f.items() if k != "row"} for f in facts["findings"]],
        schema=facts["schema"],
        training=ensemble.curve_,
        event_scores=events,
        timelines=whys.timelines,
        reasons=whys.reasons,
        clusters=whys.clusters,
        drift=_drift(run),
        language=language,
        members=_members(ensemble, metrics),
        power=_power(ensemble, threshold),
        warnings=warnings,
        metrics=metrics,
        reproduce=[f"anomaly train config={run.path / 'config.yaml'} run=NEW"],
        held_out_p_values=ensemble.reference_p_values_,
        item=facts["unit"],
        timezone=timezone,
        left_out=facts.get("left_out", {}),
        no_alert=threshold.why_none(scores["score"].to_numpy(), scores["p_value"].to_numpy()),
        learnt=_learnt(run),
    )


def by_clock(scores: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return scores whose times are told by a zone's clock; in UTC, as they are kept, where none is stated."""
    dated = [name for name in ("first_time", "last_time") if isinstance(scores[name].dtype, pl.Datetime)]
    return scores.with_columns(pl.col(name).dt.convert_time_zone(timezone or "UTC") for name in dated)


def group_rows(
    scores: pl.DataFrame, labels: pl.DataFrame, group: str, labels_id: str | None, unit: str
) -> list[dict[str, Any]]:
    """Return how many of each group were flagged, and of its normal ones where labels tell these.

    Raises
    ------
    SchemaError
        If the labels have no such column.
    """
    key = "id" if unit == "event" else "sequence"
    own = labels_id or key
    missing = [name for name in (own, group) if name not in labels.columns]
    if missing:
        raise SchemaError(f"labels: no column {missing[0]}; there are {', '.join(labels.columns)}")
    normal = pl.col("label") == 0 if "label" in labels.columns else pl.lit(False)
    told = labels.select(pl.col(own).cast(pl.String).alias("key"), pl.col(group).alias("group"), normal.alias("normal"))
    rows = scores.select(pl.col(key).cast(pl.String).alias("key"), "flagged").join(told, on="key")
    table = rows.group_by("group").agg(
        pl.len().alias("n"),
        pl.col("flagged").sum(),
        pl.col("normal").sum(),
        (pl.col("flagged") & pl.col("normal")).sum().alias("false"),
    )
    named = pl.col("group").cast(pl.String).replace("", None).fill_null("–")
    return table.with_columns(named).sort("group").to_dicts()


def _learnt(run: Run) -> list[str]:
    """Return what labels have taught, and what they have decided; nothing where no label was learnt."""
    learner = kept_learner(run)
    if learner is None:
        return []
    posterior = (
        "New events get what the labels make of them beside their score: the posterior, higher is more anomalous."
    )
    return [posterior, *learner.told()]


def _drift(run: Run) -> list[dict[str, Any]]:
    """Return what is notably different in the latest fifth of the events; nothing where there is no time."""
    try:
        store = run.sequences
    except ArtifactError:
        return []
    if not store.has_time or store.n_events < _DRIFT_FROM:
        return []
    late = np.asarray(store.time) >= np.quantile(store.time, 0.8)
    return [asdict(line) for line in run.encoder.drift(store.codes[late]) if line.notable]


def _run_facts(run: Run) -> dict[str, Any]:
    from anomaly import __version__

    found: dict[str, Any] = {"version": __version__, "seed": run.ensemble.random_state}
    found["members"] = ", ".join(run.ensemble.members)
    if run.finished:
        found["finished"] = run.manifest["finished"]
    return found


def _data_facts(facts: dict[str, Any], scores: pl.DataFrame, timezone: str) -> dict[str, Any]:
    shown = {name: facts[name] for name in ("path", "rows", "dropped", "sequences", "entities") if facts[name]}
    if facts["history"]:
        shown["history"] = facts["history"]
    if len(scores) and scores["first_time"].null_count() < len(scores):
        shown["first time"], shown["last time"] = scores["first_time"].min(), scores["last_time"].max()
        if timezone:
            shown["timezone"] = timezone
    return shown


def _members(ensemble: Any, metrics: dict[str, Any] | None) -> list[dict[str, Any]]:
    rows = [{"member": name, "weight": weight} for name, weight in ensemble.weights_.items()]
    figures = {row["member"]: row for row in (metrics or {}).get("members", [])}
    return [{**row, **figures.get(str(row["member"]), {})} for row in rows]


def _power(ensemble: Any, threshold: ThresholdPolicy) -> list[dict[str, Any]]:
    """Return what the run would find at its threshold; under a rule on the file, at its best guess of one."""
    cut = threshold.threshold_
    if not np.isfinite(cut):
        cut = float(np.quantile(ensemble.reference_scores_, 0.99))
    rows: list[dict[str, Any]] = ensemble.power(cut)
    return rows
