"""The figures of the replay benchmark drawn together: means over sets and seeds, and what must hold."""

from __future__ import annotations

from typing import Any

import numpy as np

FOUND, PRECISION = (20, 50, 100), (0, 10, 20, 50, 100, 200)
TABLES = {"tables": "The AAD sets", "tabular": "ADBench"}
DOUBLED = ((10, 20), (50, 100), (100, 200))


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean figures of every method over all sets, and of every set."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    sets = list(dict.fromkeys(row["set"] for row in rows))
    return {
        method: _figures([r for r in rows if r["method"] == method])
        | {"sets": {name: _figures([r for r in rows if r["method"] == method and r["set"] == name]) for name in sets}}
        for method in methods
    }


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    pool, half, wrong = ([r for r in rows if r["pass"] == which] for which in ("pool", "half", "wrong"))
    found = {str(k): _mean([r["found"][str(k)] / min(k, r["n_anomalous"]) for r in pool]) for k in FOUND}
    precision = {str(k): _mean([r["ap_held_out"][str(k)] for r in half]) for k in PRECISION}
    gains = {f"{a} to {b}": _gain(half, a, b) for a, b in DOUBLED}
    lost = {str(k): precision[str(k)] - _mean([r["ap_held_out"][str(k)] for r in wrong]) for k in (50, 100) if wrong}
    return {
        "found": found,
        "ap_held_out": precision,
        "twice_the_labels": gains,
        "ap_lost_to_wrong_labels": {k: round(v, 4) for k, v in lost.items()},
        "update_ms": _mean([r["update_ms"] for r in pool]),
    }


def _gain(rows: list[dict[str, Any]], a: int, b: int) -> dict[str, float]:
    """Return the mean gain over sets, and the standard error over seeds of that mean."""
    seeds = sorted({r["seed"] for r in rows})
    means = [
        float(np.mean([r["ap_held_out"][str(b)] - r["ap_held_out"][str(a)] for r in rows if r["seed"] == s]))
        for s in seeds
    ]
    error = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")
    return {"gain": _mean(means), "standard_error": round(error, 4)}


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4) if values else float("nan")


def draw_table(document: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    parts = [_tables(document[name], title) for name, title in TABLES.items() if name in document]
    parts += [_speed(document["speed"])] if "speed" in document else []
    parts += [_runs(document["runs"])] if "runs" in document else []
    return "\n".join(parts)


def _tables(found: dict[str, Any], title: str) -> str:
    heads = [f"found {k}" for k in FOUND] + [f"AP {k}" for k in PRECISION]
    heads += [f"AP {a} to {b}" for a, b in DOUBLED] + ["lost to wrong, 100", "ms"]
    counted = f"{len(found['sets'])} sets, {len(found['seeds'])} seed{'s' * (len(found['seeds']) > 1)}"
    lines = [f"## {title}: {counted}", "", _row(["method", *heads])]
    lines.append(_row(["---"] * (len(heads) + 1)))
    for method, m in found["means"].items():
        cells = [f"{m['found'][str(k)]:.3f}" for k in FOUND] + [f"{m['ap_held_out'][str(k)]:.3f}" for k in PRECISION]
        cells += [f"{g['gain']:+.3f} ± {g['standard_error']:.3f}" for g in m["twice_the_labels"].values()]
        lost = m["ap_lost_to_wrong_labels"].get("100")
        cells += ["" if lost is None else f"{lost:+.3f}", f"{m['update_ms']:.1f}"]
        lines.append(_row([method, *cells]))
    lines += ["", "Found at 50 / AP at 50, by set:", "", _row(["method", *found["sets"]])]
    lines.append(_row(["---"] * (len(found["sets"]) + 1)))
    for method, m in found["means"].items():
        by_set = [m["sets"][name] for name in found["sets"]]
        lines.append(_row([method, *(f"{s['found']['50']:.2f} / {s['ap_held_out']['50']:.2f}" for s in by_set)]))
    return "\n".join(lines) + "\n"


def _speed(rows: list[dict[str, Any]]) -> str:
    lines = ["## One label more, ranked anew", ""]
    lines.append(_row(["pool", "labels", "residual_gp ms", "slowest ms", "coniferest AAD ms", "x"]))
    lines.append(_row(["---"] * 6))
    for row in rows:
        mine = float(np.median(row["residual_gp_ms"]))
        theirs = float(np.median(row["coniferest_aad_ms"])) if "coniferest_aad_ms" in row else float("nan")
        slowest = f"{row['slowest_ms']:.0f}" if "slowest_ms" in row else ""
        cells = [f"{row['n']:,}", str(row["known"]), f"{mine:.1f}", slowest, f"{theirs:.0f}", f"{theirs / mine:.0f}"]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _runs(rows: list[dict[str, Any]]) -> str:
    methods = [name for name in rows[0] if f"{name}_ms" in rows[0]]
    heads = [f"{m} {k}" for k in (50, 100) for m in ("without", *methods)]
    lines = ["## Sequence runs: found", "", _row(["set", "anomalous", *heads]), _row(["---"] * (len(heads) + 2))]
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        cells = [f"{np.mean([r[m][str(k)] for r in mine]):.1f}" for k in (50, 100) for m in ("without", *methods)]
        lines.append(_row([name, str(mine[0]["n_anomalous"]), *cells]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
