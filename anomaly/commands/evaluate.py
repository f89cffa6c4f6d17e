"""`anomaly evaluate`: scores against labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.artifact import manifest
from anomaly.atomic import write_json
from anomaly.commands.console import Console
from anomaly.commands.files import read_table
from anomaly.errors import ConfigError, SchemaError
from anomaly.explain.words import amount
from anomaly.metrics.matching import LOGGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from anomaly.commands.compose import Settings


def command(settings: Settings) -> None:
    """Print the figures and write them as JSON."""
    values = settings.values
    metrics = evaluate(
        values["scores"],
        values["labels"],
        level=values["level"],
        labels_id=values["labels_id"],
        split=values["labels_split"],
        label=values["label"],
        typology=values["typology"],
        unmatched=values["labels_unmatched"],
        random_state=values["seed"],
    )
    out = Path(values["out"] or beside(Path(values["scores"])))
    write_json(out, metrics)
    manifest.renew(out.parent, (out.name,))
    with Console(quiet=values["quiet"]) as console:
        show(console, metrics)
        console.say(f"figures in {out}")


def beside(scores: Path) -> Path:
    """Return where the figures of a file of scores lie; a run's ``metrics.json`` is about its own ranking only."""
    own = scores.name == "scores.parquet" or not (scores.parent / manifest.NAME).is_file()
    return scores.with_name("metrics.json" if own else f"{scores.stem}_metrics.json")


def evaluate(
    scores: Any,
    labels: Any,
    *,
    level: str = "sequence",
    labels_id: str | Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the figures of a ranking: AUROC, average precision, budgets, by typology, with intervals.

    Parameters
    ----------
    scores, labels : a path or a frame
        labels without a key that are the table that was scored, in its order, are matched by the number of the row
    level : "sequence", or "event" where labels are of single events
    options : see `anomaly.metrics.evaluate`
    """
    from anomaly.metrics.evaluate import evaluate as figures
    from anomaly.metrics.matching import event_key

    if level not in ("sequence", "event"):
        raise ConfigError(f"level={level}: expected sequence or event")
    scores, labels = read_table(scores, "scores"), read_table(labels, "labels")
    if level == "event":
        if "position" not in scores.columns:
            raise SchemaError("level=event: these are scores of sequences; give scores=event_scores.parquet")
        scores_id, labels_id = event_key(labels, labels_id)
        return figures(scores, labels, scores_id=scores_id, labels_id=labels_id, **options)
    if "position" in scores.columns and scores["sequence"].is_duplicated().any():
        raise SchemaError("level=sequence: these are scores of single events; state level=event")
    if labels_id is None and _is_scored_table(scores, labels, options.get("label", "label")):
        metrics = figures(scores, labels.with_row_index("sequence"), scores_id="sequence", **options)
        metrics["join"]["casts"].append("the labels are those of the scored table, matched by the number of the row")
        return metrics
    return figures(scores, labels, scores_id="sequence", labels_id=labels_id, **options)


def _is_scored_table(scores: pl.DataFrame, labels: pl.DataFrame, label: str) -> bool:
    """Return whether labels without a key are the table that was scored: as many rows, which only their number names.

    A text that every row has of its own, and whole numbers that count the rows in another order, are a key.
    """
    if label not in labels.columns or {"sequence", LOGGED} & set(labels.columns) or labels.height != scores.height:
        return False
    if not {"length", "entity"} <= set(scores.columns) or scores["entity"].null_count() < scores.height:
        return False
    rows, others = scores["sequence"].sort(), labels.drop(label).get_columns()
    numbered = bool((scores["length"] == 1).all()) and _counts(rows) and rows[0] == 0
    return numbered and not any(map(_is_key, others))


def _is_key(column: pl.Series) -> bool:
    import polars as pl

    if column.dtype.is_integer():
        return _counts(column.sort()) and not _counts(column)
    return column.dtype == pl.String and column.n_unique() == len(column) > 1


def _counts(column: pl.Series) -> bool:
    return column.dtype.is_integer() and bool((column.diff().drop_nulls() == 1).all())


def figures_of(scores: pl.DataFrame, labels: Any, unit: str, labels_id: Any, split: str | None) -> dict[str, Any]:
    """Return the figures of a run's items."""
    return evaluate(scores, labels, level=unit, labels_id=labels_id, split=split)


def show(console: Console, metrics: dict[str, Any]) -> None:
    """Print the figures as tables."""
    join = metrics["join"]
    console.say(
        f"{amount(metrics['n'], 'labelled item')}, {metrics['n_anomalous']:,} anomalous ({metrics['prevalence']:.2%}); "
        f"without a partner: {amount(join['n_scores_unmatched'], 'score')} and "
        f"{amount(join['n_labels_unmatched'], 'label')}; unknown: {amount(metrics['n_unknown'], 'label')}"
    )
    for cast in join["casts"]:
        console.note(f"note: {cast}")
    console.table("figures", [_interval("AUROC", metrics["auroc"]), _interval("AP", metrics["average_precision"])])
    console.table("alert budgets", [_budget(row) for row in metrics["budgets"]])
    if metrics["flagged"]:
        console.table("flagged by the run's threshold", [_flagged(metrics["flagged"])])
    console.table("kinds of anomaly", [_typology(row) for row in metrics["typology"]])


def _interval(name: str, figure: dict[str, float]) -> dict[str, Any]:
    return {"figure": name, "value": f"{figure['value']:.3f}", "95%": f"{figure['low']:.3f} to {figure['high']:.3f}"}


def _budget(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "budget": f"{row['rate']:.1%}",
        "alerts": f"{row['count']:g}",
        "found": f"{round(row['found'], 1):g}",
        "precision": f"{row['precision']['value']:.3f}",
        "recall": f"{row['recall']['value']:.3f}",
    }


def _flagged(row: dict[str, Any]) -> dict[str, Any]:
    rates = {name: f"{row[name]['value']:.3f}" for name in ("precision", "recall", "false_positive_rate")}
    return {"alerts": row["count"], "found": row["found"], **rates}


def _typology(row: dict[str, Any]) -> dict[str, Any]:
    recall = {f"recall at {b['rate']:.1%}": f"{b['recall']['value']:.2f}" for b in row["budgets"]}
    return {"kind": row["typology"], "n": row["n"], "AUROC": f"{row['auroc']:.3f}", **recall}
