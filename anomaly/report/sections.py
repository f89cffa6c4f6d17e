"""What each section of the page says, worked out from `ReportData`; the template only lays it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.metrics.calibration import uniformity
from anomaly.metrics.intervals import wilson
from anomaly.report import pictures
from anomaly.report.text import amount, clean, decimal, number, plain, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly.report.data import ReportData
    from anomaly.report.svg import Sheet

LEVELS = (0.001, 0.005, 0.01, 0.02, 0.05)
TROUBLE = {
    "insert": "events of somebody else put in",
    "skip": "events left out",
    "repeat": "events that happen again",
    "shuffle": "events in random order",
    "move": "events earlier or later than they were",
    "truncate": "broken off early",
    "splice": "somebody else from some event on",
    "random_events": "whole events taken from elsewhere",
    "extreme": "one number as large as hardly any",
    "hand_over": "put down to another entity",
    "clockwork": "gaps as even as a clock's",
    "burst": "gaps much shorter",
    "silence": "one gap much longer",
    "leave": "long silent at the end of the observation",
}
"""The corruptions of the default configuration, as somebody reads of them who has not seen their names."""
_MANY_PERIODS = 2 * 86400


def headline(data: ReportData) -> dict[str, Any]:
    """Return the sentence that sums the run up, and its key figures."""
    scores, n = data.scores, len(data.scores)
    flagged = int(scores["flagged"].sum()) if "flagged" in scores.columns else 0
    entities = scores["entity"].n_unique() if "entity" in scores.columns else 0
    of = f" of {amount(entities, 'entity')}" if entities > 1 else ""
    figures = [(amount(n, data.item).split(" ", 1)[1], number(n))]
    if entities > 1:
        figures.append(("entities", number(entities)))
    if "length" in scores.columns and data.item == "sequence":
        figures.append(("events", number(float(scores["length"].sum()))))
    figures.append(("flagged", number(flagged)))
    figures += _label_figures(data.metrics)
    return {
        "scored": f"{amount(n, data.item)}{of} {'was' if n == 1 else 'were'} scored.",
        "flagged": f"{number(flagged)} ({share(flagged / max(n, 1))}) {'is' if flagged == 1 else 'are'} flagged",
        "rule": threshold_text(data.threshold),
        "figures": figures,
        "depends": bool(data.threshold.get("depends_on_file")),
    }


def _label_figures(metrics: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not metrics:
        return []
    names = (("AUROC", "auroc"), ("average precision", "average_precision"))
    return [(name, decimal(metrics[key]["value"], 3)) for name, key in names if key in metrics]


def threshold_text(threshold: Mapping[str, Any]) -> str:
    """Return the rule that flags, as the end of a sentence."""
    rate, policy = share(threshold.get("rate")), str(threshold.get("policy"))
    if threshold.get("count") is not None:
        return f"as the {number(threshold['count'])} highest scores of this file"
    rules = {
        "budget": f"by an alert budget of {rate}",
        "fpr": f"at a false-alarm rate of at most {rate}",
        "fdr": f"at a false-discovery rate of at most {rate} within this file",
        "contamination": f"by an assumed contamination of {rate}",
        "cost": f"where a miss (cost {plain(threshold.get('miss'))}) is dearer than an alarm "
        f"(cost {plain(threshold.get('alarm'))}), if {share(threshold.get('prevalence'))} are anomalous",
    }
    cut = threshold.get("threshold")
    if cut is None or not np.isfinite(cut):
        return rules.get(policy, "by the run's threshold")
    reach = "at least" if policy in ("fpr", "cost") else "above"
    return f"{rules[policy]}, a score {reach} {cut:.2f}" if policy in rules else f"by a score {reach} {cut:.2f}"


def distribution(data: ReportData, sheet: Sheet) -> dict[str, Any]:
    """Return the pictures of scores and p-values, what other cuts would flag, and how even held-out p-values are."""
    p, scores = data.scores["p_value"].to_numpy(), data.scores["score"].to_numpy()
    held_out, cut = data.held_out_p_values, data.threshold.get("threshold")
    pair = [
        sheet.add(pictures.p_value_histogram(p, held_out), _p_text(p, held_out)),
        sheet.add(pictures.score_survival(scores, cut), _score_text(scores, cut)),
    ]
    if held_out is not None and len(held_out):
        pair.append(sheet.add(pictures.calibration(held_out), _calibration(held_out) or ""))
    return {"pictures": pair, "levels": _levels(data.scores), "calibration": _calibration(held_out)}


def _p_text(p: Any, held_out: Any) -> str:
    own = f"Histogram of p-values: {share(float((p <= 0.05).mean()))} of the scored lie at or below 0.05"
    return own + ("." if held_out is None else f", {share(float((held_out <= 0.05).mean()))} of the held-out.")


def _score_text(scores: Any, cut: float | None) -> str:
    text = f"Share of items at or above each score, on a logarithmic axis; the highest score is {scores.max():.2f}"
    return text + ("." if cut is None or not np.isfinite(cut) else f", the threshold {cut:.2f}.")


def _levels(scores: pl.DataFrame) -> list[dict[str, str]]:
    rows = []
    for level in LEVELS:
        part = scores.filter(pl.col("p_value") <= level)
        expected = level * len(scores)
        rows.append(
            {
                "level": share(level),
                "score": decimal(-float(np.log10(level))),
                "expected": f"{expected:,.1f}" if expected < 10 else number(expected),
                "found": number(len(part)),
                "ratio": f"{decimal(len(part) / expected, 1)}×",
                "entities": number(part["entity"].n_unique()) if "entity" in scores.columns else "–",
            }
        )
    return rows


def _calibration(held_out: Any) -> str | None:
    if held_out is None or not len(held_out):
        return None
    row = uniformity(held_out, rates=(0.01,))["rates"][0]
    return (
        f"Of {number(len(held_out))} held-out items, {share(row['observed'])} have a p-value of at most 1% "
        f"(95% interval {share(row['low'])} to {share(row['high'])})."
    )


def over_time(data: ReportData, sheet: Sheet) -> Any:
    """Return the picture of flags over time, or None where there are no dates or nothing is flagged."""
    scores = data.scores
    if "last_time" not in scores.columns or not isinstance(scores["last_time"].dtype, pl.Datetime | pl.Date):
        return None
    rows = scores.select("last_time", "flagged").drop_nulls()
    if isinstance(rows["last_time"].dtype, pl.Datetime):
        rows = rows.with_columns(pl.col("last_time").dt.replace_time_zone(None))
    days, flagged = rows["last_time"].cast(pl.Datetime("us")).to_numpy(), rows["flagged"].to_numpy()
    if not flagged.any() or (days.max() - days.min()) / np.timedelta64(1, "s") < _MANY_PERIODS:
        return None
    text = f"Flagged items by the time of their last event, {str(days.min())[:10]} to {str(days.max())[:10]}."
    return sheet.add(pictures.flagged_over_time(days, flagged), text)


def carrying_fields(data: ReportData) -> list[dict[str, Any]]:
    """Return which field carried the strangest event of each flagged item, and how often."""
    events = data.event_scores
    if events is None or not {data.key, "field", "score"} <= set(events.columns) or "flagged" not in data.scores:
        return []
    flagged = data.scores.filter("flagged").select(data.key)
    top = events.lazy().join(flagged.lazy(), on=data.key, how="semi").group_by(data.key)
    fields = top.agg(pl.col("field").sort_by("score", descending=True).first()).collect()["field"]
    counts = fields.value_counts(sort=True).sort(["count", "field"], descending=[True, False])
    total = max(int(counts["count"].sum()), 1)
    rows = [{"field": field, "count": count, "share": count / total} for field, count in counts.iter_rows()]
    return rows[:12]


def members(data: ReportData) -> dict[str, Any]:
    """Return the members by weight, with their figures where there are labels."""
    judged = {row["member"]: row for row in (data.metrics or {}).get("members", ())}
    rows = []
    for row in data.members:
        figures = {**row, **judged.get(row["member"], {})}
        rows.append({k: figures.get(k) for k in ("member", "weight", "auroc", "average_precision")})
    agreement = agreements(data.scores)
    for row in rows:
        row["agreement"] = agreement.get(str(row["member"]))
    rows.sort(key=lambda row: (-(row["weight"] or 0.0), str(row["member"])))
    most = max((row["weight"] or 0.0 for row in rows), default=0.0) or 1.0
    for row in rows:
        row["bar"] = max(row["weight"] or 0.0, 0.0) / most
    agree = any(row["agreement"] is not None for row in rows)
    return {"rows": rows, "judged": any(row["auroc"] is not None for row in rows), "agree": agree}


def agreements(scores: pl.DataFrame) -> dict[str, float]:
    """Return the share of the flagged that each member by itself puts among as many of its own highest scores."""
    if "flagged" not in scores.columns or not scores["flagged"].any():
        return {}
    flagged = scores["flagged"].to_numpy()
    k, found = int(flagged.sum()), {}
    for name in scores.columns:
        if name.startswith("score."):
            own = np.argsort(-scores[name].to_numpy(), kind="stable")[:k]
            found[name.removeprefix("score.")] = float(flagged[own].mean())
    return found


def clusters(data: ReportData) -> list[dict[str, Any]]:
    """Return the patterns among the flagged, the largest first."""
    return [{"where": (), **row, "number": k, "size": len(row["members"])} for k, row in enumerate(data.clusters, 1)]


def looked_at(data: ReportData) -> str:
    """Return how many of the flagged the patterns are sought among, "" where it is all of them."""
    flagged = data.scores.filter("flagged")[data.key] if "flagged" in data.scores.columns else ()
    told = sum(item in data.reasons for item in flagged)
    return f"Sought among the {number(told)} highest of {number(len(flagged))}." if told < len(flagged) else ""


def reason_choices(cases: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Return code, title and number of cases of every reason among them, the commonest first."""
    counts: dict[tuple[str, str], int] = {}
    for case in cases:
        for told in case["reasons"]:
            counts[told.code, told.title] = counts.get((told.code, told.title), 0) + 1
    return [(code, title, n) for (code, title), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def groups(data: ReportData) -> list[dict[str, Any]]:
    """Return the flag rate of every group with its Wilson interval, and that of the normal ones where it is known."""
    rows = []
    for row in sorted(data.groups, key=lambda row: -row["n"]):
        low, high = wilson(row["flagged"], row["n"])
        found: dict[str, Any] = {**row, "alarms": None}
        found["rate"] = {"value": row["flagged"] / row["n"], "low": float(low), "high": float(high)}
        if row.get("normal"):
            low, high = wilson(row["false"], row["normal"])
            found["alarms"] = {"value": row["false"] / row["normal"], "low": float(low), "high": float(high)}
        rows.append(found)
    return rows[:40]


def trouble(kind: str) -> str:
    """Return a kind of planted trouble in words; of one that is unknown here its name."""
    name, _, field = kind.partition(".")
    if name == "scramble":
        what = "the time since the event before" if field == "gap" else field or "one field"
        return f"{what} taken from elsewhere"
    return TROUBLE.get(name, kind)


def power(data: ReportData) -> list[dict[str, Any]]:
    """Return what share of each kind of planted trouble is found, best first, with its Wilson interval."""
    rows = []
    for row in sorted(data.power, key=lambda row: -row["found"]):
        low, high = wilson(row["found"] * row["n"], row["n"])
        rows.append({**row, "words": trouble(row["kind"]), "low": float(low), "high": float(high)})
    return rows


def training(data: ReportData, sheet: Sheet) -> dict[str, Any] | None:
    """Return the picture of the losses and a line on where they ended, or None where nothing was trained."""
    rows = [row for row in data.training if any(isinstance(v, int | float) for v in row.values())]
    x = next((name for name in ("epoch", "step") if any(name in row for row in rows)), None)
    names = list(dict.fromkeys(name for row in rows for name, v in row.items() if isinstance(v, int | float)))
    lines = [name for name in names if "loss" in name or "nll" in name or "likelihood" in name][:4]
    if x is None:
        return None
    lines = [name for name in lines if any(row.get(x) is not None and row.get(name) is not None for row in rows)]
    if not lines:
        return None
    ends = [f"{clean(n, 30)} {[row[n] for row in rows if row.get(n) is not None][-1]:.4g}" for n in lines]
    text = f"Ended at {x} {plain(rows[-1].get(x))} with " + ", ".join(ends) + "."
    return {"picture": sheet.add(pictures.training_curve(rows, x, lines), f"Training curve. {text}"), "text": text}


def labelled(data: ReportData, sheet: Sheet) -> dict[str, Any] | None:
    """Return the figures against labels, or None where there are none."""
    metrics = data.metrics
    if not metrics:
        return None
    curves = metrics.get("curves") or {}
    drawn = []
    if "precision_recall" in curves:
        figure = pictures.precision_recall(curves["precision_recall"], metrics["prevalence"])
        drawn.append(("Precision over recall", sheet.add(figure, _figure_text(metrics, "average_precision"))))
    if "roc" in curves:
        drawn.append(("ROC", sheet.add(pictures.roc(curves["roc"]), _figure_text(metrics, "auroc"))))
    return {**metrics, "drawn": drawn, "unmatched": _unmatched(metrics)}


def _figure_text(metrics: Mapping[str, Any], key: str) -> str:
    name = {"auroc": "ROC curve, area", "average_precision": "Precision-recall curve, average precision"}[key]
    value = metrics[key]
    return f"{name} {value['value']:.3f}, 95% interval {value['low']:.3f} to {value['high']:.3f}."


def _unmatched(metrics: Mapping[str, Any]) -> str | None:
    join = metrics.get("join") or {}
    parts = [
        (join.get("n_scores_unmatched"), "scored row", "without a label"),
        (join.get("n_labels_unmatched"), "label", "without a score"),
        (metrics.get("n_unknown"), "label", "left out as unknown"),
    ]
    said = [f"{amount(count, noun)} {what}" for count, noun, what in parts if count]
    return "; ".join(said + list(join.get("casts", ()))) or None
