"""The rows of a store to the tables of a leaderboard: per competitor, per set, and what is missing and why.

Shapes: D data sets, C competitors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.errors import ConfigError
from anomaly.report.text import amount
from anomaly.sweeps.ranks import Ranks, holm, mean_interval, rank, signed_rank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]

FIGURES = ("auroc", "ap", "precision", "recall", "fit_seconds", "score_seconds", "peak_mb")
FLOOR, PYOD, PEER = "floor", "pyod", "peer"
AHEAD = 1e-9
"""Difference of average precision from which one is ahead of the other."""
_FIRST = ("set", "kind", "competitor", "group", "labels")


@dataclass(frozen=True)
class Board:
    """One ranking: all rows of one label budget and one kind of data.

    Attributes
    ----------
    title, kind, labels : what is ranked: a kind of data under a label budget
    against : the competitor that the others are compared with
    sets, competitors : D and C names; the best competitor first
    ap_DC, auroc_DC : means over seeds, NaN where there is none
    ranks : over the competitors, by average precision, on the sets that all have been run on
    unfinished : sets on which somebody has not been run yet; they are in no rank
    lines : one per competitor
    per_set : one per set
    missing : one per cell without a figure, with its reason
    """

    title: str
    kind: str
    labels: float | None
    against: str
    sets: list[str]
    competitors: list[str]
    ap_DC: Float
    auroc_DC: Float
    ranks: Ranks
    lines: list[dict[str, Any]]
    per_set: list[dict[str, Any]]
    missing: list[dict[str, Any]]
    unfinished: list[str]

    @property
    def best_D(self) -> Float:
        """Return the best average precision of each set."""
        best: Float = np.nanmax(self.ap_DC, axis=1)
        return best


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one line per set, competitor and label budget: means over seeds, their spread, cells with a figure."""
    good = pl.col("status") == "ok"
    found = [pl.col(name).filter(good).mean() for name in FIGURES]
    found += [pl.col(f"{name}").filter(good).std().alias(f"{name}_std") for name in ("auroc", "ap")]
    kept = ("ap_low", "ap_high", "auroc_low", "auroc_high", "prevalence", "repeats", "n", "n_anomalous", "n_unknown")
    found += [pl.col(name).filter(good).mean() for name in kept]
    told = [pl.col("floors").first(), pl.col("members").filter(good).first(), pl.col("reason").drop_nulls().first()]
    return (
        newest(rows)
        .group_by(_FIRST, maintain_order=True)
        .agg(*found, *told, cells=pl.len(), good=good.sum())
        .sort(_FIRST)
    )


def newest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of each cell's newest code, configuration and data: others are no further seeds of it."""
    state = pl.struct("code", "config", "fingerprint", "rows")
    return rows.filter(state.eq_missing(state.sort_by("finished").last().over(_FIRST)))


def boards(rows: pl.DataFrame, against: str | None = None) -> list[Board]:
    """Return a board for each kind of data and label budget.

    Raises
    ------
    ConfigError
        If nobody is called as `against` says.
    """
    names = rows["competitor"].unique().to_list()
    if against is not None and against not in names:
        raise ConfigError(f"against={against}: no such competitor; there are {', '.join(sorted(names))}")
    table = means(rows)
    parts = table.select("kind", "labels").unique(maintain_order=True).sort("kind", "labels", nulls_last=False)
    fresh = newest(rows)
    return [
        _board(_part(table, kind, labels), _part(fresh, kind, labels), kind, labels, against)
        for kind, labels in parts.iter_rows()
    ]


def _part(table: pl.DataFrame, kind: str, labels: float | None) -> pl.DataFrame:
    return table.filter((pl.col("kind") == kind) & pl.col("labels").eq_missing(labels))


def _board(table: pl.DataFrame, rows: pl.DataFrame, kind: str, labels: float | None, against: str | None) -> Board:
    sets = sorted(table.filter(pl.col("good") > 0)["set"].unique().to_list(), key=str.lower)
    names: list[str] = sorted(table["competitor"].unique().to_list())
    reference = against if against is not None and against in names else "default" if "default" in names else names[0]
    ap, auroc = (_matrix(table, sets, names, figure) for figure in ("ap", "auroc"))
    counts = table.group_by("set").agg(pl.col("competitor").n_unique())
    ran = dict(counts.iter_rows())
    unfinished = [name for name in sets if ran[name] < len(names)]
    complete = np.array([name not in unfinished for name in sets], bool)
    order = np.argsort(np.nan_to_num(rank(ap[complete]).mean, nan=np.inf), kind="stable")
    names = [names[k] for k in order]
    ap, auroc = ap[:, order], auroc[:, order]
    ranks = rank(ap[complete])
    what = amount(len(sets), "data set") if kind == "table" else f"{amount(len(sets), 'set')} of sequences"
    title = f"{what}, " + ("no label" if labels is None else f"{labels:.0%} of the anomalies labelled")
    return Board(
        title=title,
        kind=kind,
        labels=labels,
        against=reference,
        sets=sets,
        competitors=names,
        ap_DC=ap,
        auroc_DC=auroc,
        ranks=ranks,
        lines=_lines(table, names, ap, auroc, ranks, names.index(reference)),
        per_set=[_set_line(table.filter(pl.col("set") == name), name, reference) for name in sets],
        missing=_missing(rows),
        unfinished=unfinished,
    )


def _matrix(table: pl.DataFrame, sets: list[str], names: list[str], figure: str) -> Float:
    found = np.full((len(sets), len(names)), np.nan)
    for name, competitor, value in table.select("set", "competitor", figure).iter_rows():
        if name in sets and value is not None:
            found[sets.index(name), names.index(competitor)] = value
    return found


def _lines(
    table: pl.DataFrame, names: list[str], ap: Float, auroc: Float, ranks: Ranks, against: int
) -> list[dict[str, Any]]:
    # A mean over fewer and easier sets would be no mean to compare: means are over the sets that all have. Floors and
    # peers that read one kind of set only would leave hardly any, who has no figure at all none.
    of = dict(table.select("competitor", "group").unique().iter_rows())
    known = [k for k in range(len(names)) if not np.isnan(ap[:, k]).all()]
    asked = [k for k in known if of[names[k]] not in (FLOOR, PEER)] or known
    common = ~np.isnan(ap[:, asked]).any(1)
    tests = [None if k == against else signed_rank(ap[:, against], ap[:, k]) for k in range(len(names))]
    adjusted = holm(tests)
    lines = []
    for k, name in enumerate(names):
        mine = table.filter(pl.col("competitor") == name)
        value, low, high = mean_interval(ap[common, k])
        better, worse = (int((sign * (ap[:, against] - ap[:, k]) > AHEAD).sum()) for sign in (1, -1))
        costs = {f: mine[f].drop_nulls().median() for f in ("fit_seconds", "score_seconds", "peak_mb")}
        line = {"competitor": name, "group": mine["group"][0], "rank": float(ranks.mean[k])}
        line |= {"ap": value, "ap_low": low, "ap_high": high, "auroc": mean_interval(auroc[common, k])[0]}
        line |= {figure: mine[figure].drop_nulls().mean() for figure in ("precision", "recall")}
        line |= {"sets": int((~np.isnan(ap[:, k])).sum()), "common": int(common.sum()), **costs}
        line |= {"default_wins": better, "default_losses": worse, "wilcoxon": tests[k], "holm": adjusted[k]}
        lines.append(line)
    return lines


def _set_line(mine: pl.DataFrame, name: str, against: str) -> dict[str, Any]:
    """Return how the default stands on a set: against the best floor, the best of PyOD, all, and who is ahead of it."""
    figures = {row["competitor"]: row for row in mine.iter_rows(named=True) if row["ap"] is not None}
    default = figures.get(against)
    line: dict[str, Any] = {"set": name, "default": default, "floors_told": json.loads(mine["floors"][0] or "{}")}
    for label, chosen in {
        "best_floor": [r for r in figures.values() if r["group"] == FLOOR],
        "best_pyod": [r for r in figures.values() if r["group"] == PYOD],
        "best": list(figures.values()),
    }.items():
        line[label] = max(chosen, key=lambda r: r["ap"], default=None)
    first = next(iter(figures.values()))
    line |= {key: first[key] for key in ("n", "n_anomalous", "prevalence", "repeats")}
    line["best_member"] = _best_member(default)
    line["losses"] = _losses(default, list(figures.values()))
    return line


def _losses(default: dict[str, Any] | None, figures: list[dict[str, Any]]) -> list[str]:
    """Return the best of each group that is ahead of the default, by how far, the furthest first."""
    if default is None:
        return ["no figure of its own"]
    ahead: dict[str, dict[str, Any]] = {}
    for row in sorted(figures, key=lambda r: -r["ap"]):
        if row["ap"] > default["ap"] + AHEAD:
            ahead.setdefault(row["group"], row)
    return [f"{row['competitor']}: AP -{_gap(row['ap'] - default['ap'])}" for row in ahead.values()]


def _gap(value: float) -> str:
    return f"{value:.3f}" if value >= 5e-4 else "<0.001"


def _best_member(default: dict[str, Any] | None) -> tuple[str, float] | None:
    members = json.loads((default or {}).get("members") or "{}")
    best = max(members, key=lambda name: members[name][1], default=None)
    return None if best is None else (best, float(members[best][1]))


def _missing(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the reasons, cells of equal reason together."""
    bad = rows.filter(pl.col("status") != "ok")
    found = bad.group_by("competitor", "set", "status", "reason", maintain_order=True).agg(seeds=pl.len())
    return found.sort("competitor", "set").to_dicts()
