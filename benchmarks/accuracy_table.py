"""Rows of (set, seed) to means with their spread, and to the table that people read."""

from __future__ import annotations

from typing import Any

import numpy as np

MUST = {
    "schonlau_sea": (0.925, 0.43),
    "proc_declarations_010": (0.965, 0.87),
    "proc_p2p_010": (0.99, 0.97),
    "proc_receipt_010": (0.93, 0.66),
    "hdfs_loghub_partial": (0.99, 0.85),
    "fraud_handbook": (0.64, 0.28),
}
"""AUROC and average precision that the defaults have to reach."""

FIGURES = ("auroc", "average_precision")
HEAD = (
    "| set | floor | must | measured | best single member | false alarms at .01 / .05 | repeats | losses |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per set, in the order in which the sets come."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    return [_summary(name, [row for row in rows if row["set"] == name]) for name in names]


def draw_table(summary: list[dict[str, Any]]) -> str:
    """Return the table as Markdown; figures are AUROC/AP, the spread is the standard deviation over seeds."""
    lines = [
        "AUROC/AP, mean ± standard deviation over seeds; the best single member is known only afterwards.\n\n",
        HEAD,
    ]
    lines += [_line(row) for row in summary]
    return "".join(lines)


def _summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    good = [row for row in rows if "error" not in row]
    summary: dict[str, Any] = {"set": name, "seeds": [row["seed"] for row in good]}
    summary["errors"] = {str(row["seed"]): row["error"] for row in rows if "error" in row}
    if not good:
        return summary
    summary |= _means(good)
    summary["floors"] = {key: _means([row["floors"][key] for row in good]) for key in _shared(good, "floors")}
    summary["members"] = {key: _means([row["members"][key] for row in good]) for key in _shared(good, "members")}
    summary["best_floor"] = _best(summary["floors"])
    summary["best_member"] = _best(summary["members"])
    nominal = [rate["nominal"] for rate in good[0]["false_alarms"]]
    observed = np.mean([[rate["observed"] for rate in row["false_alarms"]] for row in good], axis=0)
    summary["false_alarms"] = dict(zip(map(str, nominal), [round(float(x), 4) for x in observed], strict=True))
    summary["repeats"] = good[0]["repeats"]
    summary["fit_seconds"] = round(float(np.mean([row["seconds"]["fit"] for row in good])), 1)
    summary["score_seconds"] = round(float(np.mean([row["seconds"]["score"] for row in good])), 1)
    summary["must"] = list(MUST[name]) if name in MUST else None
    summary["losses"] = _losses(summary)
    return summary


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    found = {}
    for key in FIGURES:
        values = [row[key] for row in rows]
        found[key] = round(float(np.mean(values)), 5)
        found[f"{key}_std"] = round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else 0.0
    return found


def _shared(rows: list[dict[str, Any]], part: str) -> list[str]:
    return [key for key in rows[0][part] if all(key in row[part] for row in rows)]


def _best(candidates: dict[str, dict[str, float]]) -> str | None:
    return max(candidates, key=lambda name: candidates[name]["average_precision"], default=None)


def _losses(summary: dict[str, Any]) -> list[str]:
    """Return what the ensemble loses against, with by how much."""
    must = summary["must"]
    against: dict[str, dict[str, float]] = {}
    if must is not None:
        against["must"] = dict(zip(FIGURES, must, strict=True))
    if summary["best_floor"] is not None:
        against[f"floor ({summary['best_floor']})"] = summary["floors"][summary["best_floor"]]
    losses = []
    for name, other in against.items():
        for key, label in zip(FIGURES, ("AUROC", "AP"), strict=True):
            behind = other[key] - summary[key]
            if behind > 0:
                losses.append(f"{name}: {label} -{behind:.3f}")
    return losses


def _line(row: dict[str, Any]) -> str:
    errors = "; ".join(f"seed {seed} failed ({why[:80]})" for seed, why in row["errors"].items()).replace("|", "/")
    if "auroc" not in row:
        return f"| {row['set']} | | | | | | | **{errors}** |\n"
    losses = "; ".join(filter(None, [*row["losses"], errors]))
    cells = [
        row["set"],
        _named(row["best_floor"], row["floors"]),
        "reported" if row["must"] is None else "/".join(f"{x:.3f}" for x in row["must"]),
        f"{_spread(row, 'auroc')} / {_spread(row, 'average_precision')}",
        _named(row["best_member"], row["members"]),
        " / ".join(f"{x:.3f}" for x in row["false_alarms"].values()),
        "-" if row["repeats"] is None else f"{row['repeats']:.0%}",
        f"**{losses}**" if losses else "none",
    ]
    return "| " + " | ".join(cells) + " |\n"


def _named(name: str | None, candidates: dict[str, dict[str, float]]) -> str:
    if name is None:
        return "-"
    figures = candidates[name]
    return f"{figures['auroc']:.3f}/{figures['average_precision']:.3f} ({name})"


def _spread(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.3f} ± {row[f'{key}_std']:.3f}"
