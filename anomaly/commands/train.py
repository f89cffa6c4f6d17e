"""`anomaly train`: raw events to a calibrated ranking, and the same from Python."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from anomaly.artifact.finetuning import LabelSource
from anomaly.artifact.run import Run
from anomaly.artifact.scoring import source_of
from anomaly.artifact.training import Recipe, finish_run, train_run
from anomaly.artifact.warm import OlderRun
from anomaly.atomic import write_json
from anomaly.commands.compose import TABLE, Settings, choices, compose
from anomaly.commands.console import Console
from anomaly.commands.evaluate import figures_of
from anomaly.commands.files import read_table
from anomaly.commands.plan import plan
from anomaly.commands.report import report_run
from anomaly.commands.score import show_highest, show_why_none
from anomaly.errors import DataError, SchemaError
from anomaly.events.infer import left_out
from anomaly.events.schema import AUTO
from anomaly.events.tabular import TableRoles, label_column, table_labels, table_schema
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from anomaly.commands.plan import Plan
    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema

_ESTIMATED = 200_000
"""Rows from which an estimate is told before the work begins."""
_STATED = ("events.numeric", "events.categorical")
"""Roles of a table's columns that are told."""
_NOT_STATED, _OF_OLDER = "not stated as an input", "not read by the older run"


def command(settings: Settings) -> None:
    """Train a run from a file."""
    values = settings.values
    _train(settings, values["table"]["path"] or values["events"]["path"])


def train(events: Any, *, run: Path | str, quiet: bool = True, allow: tuple[str, ...] = (), **overrides: Any) -> Run:
    """Train a run and return it.

    Parameters
    ----------
    events : a path, a Polars or a pandas frame
    run : folder of the run
    allow : further packages whose classes may be built
    overrides : roles of columns (``entity="user"``, ``gap="30m"``), choices of groups (``threshold="fpr"``), keys of
        groups as a mapping (``model={"width": 64}``), and the other keys of ``anomaly train --help``;
        ``table={"label": "class"}``, or ``table={}``, where the rows stand alone

    Raises
    ------
    AnomalyError
        As the command does, where it would end with exit code 2.
    """
    from anomaly.events.schema import EventSchema

    roles = {f.name for f in fields(EventSchema)}
    arguments = [f"allow=[{','.join(allow)}]"] if allow else []
    values: dict[str, Any] = {"run": str(run), "quiet": quiet}
    path = str(events) if hasattr(events, "__fspath__") or isinstance(events, str) else None
    values |= {"events.path": None, "table.path": path} if "table" in overrides else {"events.path": path}
    if "table" in overrides and "experiment" not in overrides:
        arguments.append(f"experiment={TABLE}")
    for key, value in overrides.items():
        if key in roles:
            values[f"events.{key}"] = list(value) if isinstance(value, tuple) else value
        elif isinstance(value, str) and choices(key):
            arguments.append(f"{key}={value}")
        elif isinstance(value, dict):
            values |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    labels = values.pop("labels", None)
    return _train(compose("train", arguments, values), events, labels)


def _train(settings: Settings, events: Any, labels: Any = None) -> Run:
    values = settings.values
    with Console(quiet=values["quiet"]) as console:
        what = plan(settings)
        source = source_of(events, table=what.encoder.table)
        past = values["history"]["path"]
        history = None if past is None else source_of(past)
        truth = _labels(values["labels"] if labels is None else labels)
        if truth is None and what.encoder.table:
            truth = table_labels(source, TableRoles.of(values["table"]))
        older = None
        if values["init_from"] is not None:
            older = OlderRun(Run.load(values["init_from"], allow=settings.allow), float(values["replay"]))
        recipe = _recipe(what, source, older, values, console)
        run = Run.create(values["run"], settings.text, overwrite=values["overwrite"], allow=settings.allow)
        train_run(run, source, recipe, history=history, progress=console.progress)
        metrics = None
        if truth is not None:
            metrics = _figures(console, run, truth, values)
        if recipe.older is not None:
            _compare(console, run, recipe.older, truth, values)
        console.progress("writing the report")
        report_run(run, metrics)
        finish_run(run, recipe)
        _show(console, run)
    return run


def _figures(console: Console, run: Run, truth: pl.DataFrame, values: dict[str, Any]) -> dict[str, Any] | None:
    """Keep the figures against the labels; labels that do not fit cost nobody a training."""
    try:
        figures = figures_of(run.scores, truth, run.facts["unit"], values["labels_id"], values["labels_split"])
    except (DataError, SchemaError) as error:
        console.note(f"warning: no figures against the labels: {error}; mend them, then anomaly report labels=")
        return None
    write_json(run.path / "metrics.json", figures)
    return figures


def _compare(console: Console, run: Run, older: OlderRun, truth: pl.DataFrame | None, values: dict[str, Any]) -> None:
    """Tell, and keep, how both runs fare in both periods."""
    console.progress("comparing with the older run")
    labels = None if truth is None else LabelSource(truth, values["labels_id"], split=values["labels_split"])
    periods = older.compare(run.ensemble, run.sequences, run.encoder, labels)
    run.write_facts(run.facts | {"warm_start": {"from": str(older.run.path), "periods": periods}})
    run.log("compared", periods=periods)
    shown = {"old": "nats, old run", "new": "nats, new run", "old_precision": "AP, old", "new_precision": "AP, new"}
    rows = [{"period": p["period"], **{text: p[k] for k, text in shown.items() if p[k] is not None}} for p in periods]
    console.table("held-out events of both periods", rows)


def _labels(labels: Any) -> pl.DataFrame | None:
    return None if labels is None else read_table(labels, "labels")


def _recipe(
    what: Plan, source: EventSource, older: OlderRun | None, values: dict[str, Any], console: Console
) -> Recipe:
    from anomaly.events.infer import infer_schema

    console.progress("reading the columns")
    if what.encoder.table:
        schema = table_schema(source, TableRoles.of(values["table"]))
        stated = [o.replace("events.", "table.", 1) for o in schema.overrides() if o.startswith(_STATED)]
    else:
        schema = what.schema if older is None else older.run.encoder.schema_
        schema = infer_schema(source, schema)
        stated = schema.overrides()
    console.say("columns, as the overrides that would state them:")
    console.say("  " + " ".join(stated))
    unused = _left_out(source, schema, what, values, older)
    if unused and not set(unused.values()) <= {_OF_OLDER, _NOT_STATED}:
        console.say("left out: " + ", ".join(f"{name or '(no name)'} ({why})" for name, why in unused.items()))
    _estimate(source, schema, int(values["sequences"]["memory"]), console)
    return Recipe(
        schema=schema,
        encoder=what.encoder if older is None else older.encoder(what.ensemble),
        older=older,
        left_out=unused,
        ensemble=what.ensemble,
        policy=what.policy,
        unit=values["unit"],
        seed=values["seed"],
        memory=int(values["sequences"]["memory"]),
        bad_rows=values["checks"]["bad_rows"],
        max_bad=values["checks"]["max_bad"],
        keep_events=values["keep_events"],
    )


def _left_out(
    source: EventSource, schema: EventSchema, what: Plan, values: dict[str, Any], older: OlderRun | None
) -> dict[str, str]:
    """Return the columns that are not read, and why."""
    roles = TableRoles.of(values["table"]) if what.encoder.table else None
    inputs = {what.schema.categorical, what.schema.numeric} if roles is None else {roles.categorical, roles.numeric}
    found = left_out(source, schema)
    if older is not None or inputs != {AUTO if roles is None else None}:
        found = dict.fromkeys(found, _NOT_STATED if older is None else _OF_OLDER)
    truth = label_column(source, roles) if roles is not None else None
    return {name: "holds the labels" if name == truth else why for name, why in found.items()}


def _estimate(source: EventSource, schema: EventSchema, memory: int, console: Console) -> None:
    if source.n_rows < _ESTIMATED:
        return
    from anomaly.sequences.estimate import estimate

    console.say(f"preparing {estimate(source, schema, memory)}; training follows, up to trainer.max_time")


def _show(console: Console, run: Run) -> None:
    for warning in run.ensemble.warnings_:
        console.note(f"warning: {warning}")
    scores = run.scores
    findings = [f for f in run.facts["findings"] if f["level"] != "info"]
    console.table("findings", [{"column": f["column"], "rows": f["count"], "finding": f["message"]} for f in findings])
    show_highest(console, scores)
    console.say(f"{amount(scores.height, 'item')} ranked, {int(scores['flagged'].sum()):,} flagged; all in {run.path}")
    show_why_none(console, run.threshold, scores)
    console.say(f"report: {run.path / 'report.html'}")
